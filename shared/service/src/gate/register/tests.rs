//! Who is let in, in virtual time.

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn limits() -> GateLimits {
    GateLimits {
        connections_max: 10,
        connections_per_address_max: 4,
        connections_per_network_max: 6,
        unsettled_max: 10,
        faults_per_minute_max: 3,
        ban: MINUTE,
        trusted_networks: vec!["127.0.0.0/8".parse().unwrap()],
    }
}

fn register() -> (Register, Instant) {
    (Register::new(limits()), Instant::now())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The address is banned for its faults.
fn ban(register: &mut Register, address: &str, now: Instant) {
    let banned: Vec<_> = (0..4).map(|_| register.fault(ip(address), now)).collect();
    assert_eq!(banned, [false, false, false, true]);
}

#[test]
fn the_limits_of_one_address_of_its_network_and_of_all_are_held() {
    let (mut register, now) = register();
    for _ in 0..4 {
        assert_eq!(register.admit(ip("203.0.113.1"), now), Ok(()));
    }
    assert_eq!(register.admit(ip("203.0.113.1"), now), Err(Refusal::Address));
    for _ in 0..2 {
        assert_eq!(register.admit(ip("203.0.113.2"), now), Ok(()));
    }
    assert_eq!(register.admit(ip("203.0.113.3"), now), Err(Refusal::Network));
    for _ in 0..4 {
        assert_eq!(register.admit(ip("198.51.100.1"), now), Ok(()));
    }
    assert_eq!(register.admit(ip("192.0.2.1"), now), Err(Refusal::Full));
    // Who leaves makes room.
    register.leave(ip("203.0.113.1"), false, now);
    assert_eq!(register.admit(ip("203.0.113.9"), now), Ok(()));
}

#[test]
fn addresses_of_one_ipv6_household_share_its_limit() {
    let (mut register, now) = register();
    for host in 0..6 {
        assert_eq!(register.admit(ip(&format!("2001:db8::{host}")), now), Ok(()));
    }
    assert_eq!(register.admit(ip("2001:db8::99"), now), Err(Refusal::Network));
    assert_eq!(register.admit(ip("2001:db8:0:1::1"), now), Ok(()));
}

#[test]
fn what_comes_through_the_operators_own_machines_is_counted_in_all_alone() {
    let (mut register, now) = register();
    for _ in 0..10 {
        assert_eq!(register.admit(ip("127.0.0.1"), now), Ok(()));
        assert!(!register.fault(ip("127.0.0.1"), now));
    }
    assert_eq!(register.admit(ip("127.0.0.1"), now), Err(Refusal::Full));
}

#[test]
fn a_ban_comes_with_the_fault_over_the_limit_and_ends_by_itself() {
    let (mut register, now) = register();
    ban(&mut register, "203.0.113.1", now);
    assert_eq!(register.admit(ip("203.0.113.1"), now), Err(Refusal::Banned));
    // Its neighbours did nothing.
    assert_eq!(register.admit(ip("203.0.113.2"), now), Ok(()));
    assert_eq!(register.admit(ip("203.0.113.1"), now + MINUTE), Ok(()));
}

#[test]
fn a_ban_of_an_ipv6_address_holds_for_all_that_its_owner_has() {
    let (mut register, now) = register();
    ban(&mut register, "2001:db8::1", now);
    assert_eq!(register.admit(ip("2001:db8::2"), now), Err(Refusal::Banned));
    assert_eq!(register.admit(ip("2001:db8:0:1::1"), now), Ok(()));
}

#[test]
fn faults_are_forgotten_after_a_minute() {
    let (mut register, now) = register();
    for minute in 0..5 {
        for _ in 0..3 {
            assert!(!register.fault(ip("203.0.113.1"), now + MINUTE * minute));
        }
    }
}

#[test]
fn an_address_from_which_somebody_mines_is_not_banned_for_its_neighbours_behind_it() {
    let (mut register, now) = register();
    register.admit(ip("203.0.113.1"), now).unwrap();
    assert!(register.prove(ip("203.0.113.1"), now));
    for _ in 0..100 {
        assert!(!register.fault(ip("203.0.113.1"), now));
    }
    // Nor while all of a farm is without power for a moment.
    register.leave(ip("203.0.113.1"), true, now);
    for _ in 0..100 {
        assert!(!register.fault(ip("203.0.113.1"), now + MINUTE * 59));
    }
    ban(&mut register, "203.0.113.1", now + MINUTE * 61);
}

#[test]
fn who_begins_to_mine_is_no_longer_banned() {
    let (mut register, now) = register();
    register.admit(ip("203.0.113.1"), now).unwrap();
    ban(&mut register, "203.0.113.1", now);
    register.prove(ip("203.0.113.1"), now);
    assert_eq!(register.admit(ip("203.0.113.1"), now), Ok(()));
}

#[test]
fn memory_ends_with_the_connections_and_is_bounded_for_faults() {
    let (mut register, now) = register();
    for host in 0..8 {
        register.admit(ip(&format!("203.0.{host}.1")), now).unwrap();
    }
    for host in 0..8 {
        register.leave(ip(&format!("203.0.{host}.1")), false, now);
    }
    assert_eq!(register.sizes(), [0, 0, 0]);
    let address = |number: u32| IpAddr::V4((0x0a00_0000 + number).into());
    for number in 0..u32::try_from(RECORDS_MAX).unwrap() + 100 {
        register.fault(address(number), now);
    }
    assert_eq!(register.sizes(), [0, 0, RECORDS_MAX]);
    // When the old ones are of no more use, there is room again.
    register.fault(ip("203.0.113.1"), now + MINUTE * 2);
    assert_eq!(register.sizes(), [0, 0, 1]);
}

#[test]
fn what_the_operator_bans_stays_out_for_its_time_trusted_or_not_and_can_be_let_in_again() {
    let now = Instant::now();
    let trusted_networks = vec!["10.0.0.0/8".parse().unwrap()];
    let mut register =
        Register::new(GateLimits { trusted_networks, ..GateLimits::of_connections(9) });
    let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 1, 1].into());
    let network = |text: &str| Network::of_one_or_many(text).unwrap();
    let hour = now + Duration::from_secs(3_600);
    assert!(register.ban(network("10.0.0.0/24"), hour, now));
    register.prove(one, now);
    assert_eq!(register.admit(one, now), Err(Refusal::Banned), "although he mines");
    assert_eq!(register.admit(other, now), Ok(()));
    assert_eq!(register.bans(now), [(network("10.0.0.0/24"), hour, true)]);
    assert!(!register.lift(network("10.0.0.1"), now), "another network");
    assert!(register.lift(network("10.0.0.0/24"), now));
    assert_eq!(register.admit(one, now), Ok(()));
    register.ban(network("10.0.0.1"), hour, now);
    assert_eq!(register.admit(one, now), Err(Refusal::Banned));
    assert_eq!((register.admit(one, hour), register.bans(hour)), (Ok(()), vec![]));
}

#[test]
fn bans_for_faults_are_shown_and_can_be_lifted_and_the_operators_are_bounded() {
    let now = Instant::now();
    let limits = GateLimits {
        faults_per_minute_max: 0,
        ban: Duration::from_secs(60),
        ..GateLimits::of_connections(9)
    };
    let mut register = Register::new(limits);
    let address: IpAddr = [203, 0, 113, 9].into();
    assert!(register.fault(address, now));
    let network = Network::source(address);
    assert_eq!(register.bans(now), [(network, now + Duration::from_secs(60), false)]);
    assert!(register.lift(network, now) && register.admit(address, now).is_ok());
    let of = |number: u32| Network::new(std::net::Ipv4Addr::from(number).into(), 32);
    let later = now + Duration::from_secs(9);
    let most = u32::try_from(DECREED_MAX).unwrap();
    assert!((0..most).all(|it| register.ban(of(it), later, now)));
    assert!(!register.ban(of(most), later, now));
    assert!(register.ban(of(most), later + Duration::from_secs(9), later), "old ones are over");
}
