//! Vectors of an independent implementation (Python's hashlib), one for each hash: value
//! 10,000,000,012,345, owner 01..20, randomness 80..9f, ephemeral secret 32 times 11.

use bitcoin::hex::{DisplayHex, FromHex};

use super::*;
use crate::coinbase::shielded::note::BadHex;

struct Vector {
    hash: NoteHash,
    commitment: &'static str,
    output: &'static str,
    anchor: &'static str,
    ephemeral_pubkey: &'static str,
    shared_secret: &'static str,
    ciphertext: &'static str,
}

const VALUE: u64 = 10_000_000_012_345;
const OWNER: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
const RANDOMNESS: &str = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
const SECRET: EphemeralSecret = EphemeralSecret([0x11; 32]);

const VECTORS: [Vector; 7] = [
    Vector {
        hash: NoteHash::Concat,
        commitment: "a1fd7c61486dbd4286e35cd7bb85905180abfe66f6985e34a54b9cc85f0a77b6",
        output: "5220a1fd7c61486dbd4286e35cd7bb85905180abfe66f6985e34a54b9cc85f0a77b6",
        anchor: "6a22bb00a1fd7c61486dbd4286e35cd7bb85905180abfe66f6985e34a54b9cc85f0a77b6",
        ephemeral_pubkey: "779c0f934cca3d8e45f6e3ebbc71def3a8abb9932694e0c7f7059fb8e7c6be84",
        shared_secret: "ae2454bf46e8537b4f78a21dd8ab43911d22604b4a033700b3d2c3688d785b46",
        ciphertext: "b63a07a9d18cfc242dde4a3f8883ea28b23fddfc655bb1a0e19e9c14a50839f8\
                     0e455ed48dbd5b36c5b7fad4",
    },
    Vector {
        hash: NoteHash::Tagged,
        commitment: "f0e6a11d214843b63adc9f08fe53d3f2e453c4bbd269509938f92dfa34ca3fe5",
        output: "5220f0e6a11d214843b63adc9f08fe53d3f2e453c4bbd269509938f92dfa34ca3fe5",
        anchor: "6a22bb00f0e6a11d214843b63adc9f08fe53d3f2e453c4bbd269509938f92dfa34ca3fe5",
        ephemeral_pubkey: "c75d1d34f67bb2ac836beeb97c351671d855902c604b6b0813033f54f19d494e",
        shared_secret: "86e2832ae4459c9f33f540b27f6ae06b20958f12a3b95082ad3b4afbf4621676",
        ciphertext: "b02f247ef60962038c960b12617e5f8902d17edbbe05d7ccd31a36517555a5a4\
                     751579628cfbc31fc865e4e7",
    },
    Vector {
        hash: NoteHash::Nul,
        commitment: "3510b6b132bfd3266bd975c0478859e3436d88d4d2e07d7845a16e61b5cd5ffb",
        output: "52203510b6b132bfd3266bd975c0478859e3436d88d4d2e07d7845a16e61b5cd5ffb",
        anchor: "6a22bb003510b6b132bfd3266bd975c0478859e3436d88d4d2e07d7845a16e61b5cd5ffb",
        ephemeral_pubkey: "3ea638d9970aa7fabea91bea98210a048ad9a7605c4a1ed5653e908cd279ca31",
        shared_secret: "51be3d15ccad73b48cab58dc6c0330be95c4f3516157f98351159da2c5e60ab6",
        ciphertext: "244fb8bd101b856a7c88f761f08319c0275d19233b06fff783e1644dc63af7ad\
                     059dc249defef1174333718e",
    },
    Vector {
        hash: NoteHash::Len8,
        commitment: "9c73aa068aad2767a5118e9c97c8ce6d05b1483a65b388c245fd92382bb5c2b6",
        output: "52209c73aa068aad2767a5118e9c97c8ce6d05b1483a65b388c245fd92382bb5c2b6",
        anchor: "6a22bb009c73aa068aad2767a5118e9c97c8ce6d05b1483a65b388c245fd92382bb5c2b6",
        ephemeral_pubkey: "8d4aa20e4c8ca81697c8dd902ce30e8a97965315ffe401f08ed39380aea9a741",
        shared_secret: "da71f7f7ab91ef6b277b6b9a7b2e42f953b0b43cc193d6659b08355ce8a36d7b",
        ciphertext: "ab61d6a273b00a364e9ce89ebf5bbf54a6f4fac0737757856c2e5a082e348778\
                     19dd69a557f7b39357e179d9",
    },
    Vector {
        hash: NoteHash::Len32,
        commitment: "999110939b17f7a11299bd905d7e7210b94b2b36dc55f197b2ad2bc5631a9019",
        output: "5220999110939b17f7a11299bd905d7e7210b94b2b36dc55f197b2ad2bc5631a9019",
        anchor: "6a22bb00999110939b17f7a11299bd905d7e7210b94b2b36dc55f197b2ad2bc5631a9019",
        ephemeral_pubkey: "0c117ef431072491bf85aff42d8eb5b70348efa98a2f981c75633a2c8ebabbd5",
        shared_secret: "16f2400c4326af58c94d7867833128d6091e8ffead4f577a09dc3b2af5e63308",
        ciphertext: "228d453ec60060730352c3b7096bf9d3469e9af40ebfa5613d5bb38204b71b90\
                     8fe072ece0169ffb455250f7",
    },
    Vector {
        hash: NoteHash::Len64,
        commitment: "40328f3346d6912b0e2641a93a1ee69f4a8d2b736cc62a18d447697e667c704b",
        output: "522040328f3346d6912b0e2641a93a1ee69f4a8d2b736cc62a18d447697e667c704b",
        anchor: "6a22bb0040328f3346d6912b0e2641a93a1ee69f4a8d2b736cc62a18d447697e667c704b",
        ephemeral_pubkey: "45d9d0a283bf06b6c69664d1c34f3d66cb027c9a1295068c930f4ddc83b2bc6c",
        shared_secret: "290ec156d95a1ff92340d3bb20be324e72b48628ad94213e24946ae4fc1afeb5",
        ciphertext: "3a334e0299680a09ef87531554fb6c087d2aa3c9aaae99291cd46d942b711fb0\
                     e34af0fb485d263084b493da",
    },
    Vector {
        hash: NoteHash::Double,
        commitment: "89a732a00b9348a58e7a8f4bf06a3fd098743a82d42748ad8ab75d7537f16449",
        output: "522089a732a00b9348a58e7a8f4bf06a3fd098743a82d42748ad8ab75d7537f16449",
        anchor: "6a22bb0089a732a00b9348a58e7a8f4bf06a3fd098743a82d42748ad8ab75d7537f16449",
        ephemeral_pubkey: "057aaee5c22b66f305d340170773168679a75debf7e1356eb3bffd3bd2d7c105",
        shared_secret: "6857fc875988ec26437229abe6ca176a4a9d45f9cd5208febbac40829c42ac13",
        ciphertext: "793724a7c2ff901f59ce5f72b2d72955926477fe825ecb5e6ae588deca4e1982\
                     ca20c4b691f6112f83ffe78e",
    },
];

fn note() -> Note {
    Note { value: VALUE, owner: OWNER.parse().unwrap(), randomness: RANDOMNESS.parse().unwrap() }
}

#[test]
fn every_hash_gives_the_commitment_and_scripts_of_its_vector() {
    for vector in &VECTORS {
        let commitment = note().commitment(vector.hash);
        assert_eq!(commitment.to_string(), vector.commitment, "{}", vector.hash);
        assert_eq!(commitment.output_script().to_lower_hex_string(), vector.output);
        assert_eq!(commitment.anchor_script().to_lower_hex_string(), vector.anchor);
    }
}

#[test]
fn every_hash_seals_as_its_vector_says_and_opens_again() {
    for vector in &VECTORS {
        let sealed = seal(vector.hash, &note(), SECRET);
        let shared = shared_secret(vector.hash, &sealed.ephemeral_pubkey, &note().owner);
        assert_eq!(sealed.ephemeral_pubkey.to_lower_hex_string(), vector.ephemeral_pubkey);
        assert_eq!(shared.to_lower_hex_string(), vector.shared_secret, "{}", vector.hash);
        assert_eq!(sealed.ciphertext.to_lower_hex_string(), vector.ciphertext);
        assert_eq!(sealed.commitment.to_lower_hex_string(), vector.commitment);
        assert_eq!(open(vector.hash, &sealed, note().owner), Some(note()), "{}", vector.hash);
    }
}

#[test]
fn each_hash_is_detected_from_one_known_note() {
    for vector in &VECTORS {
        let commitment = vector.commitment.parse().unwrap();
        assert_eq!(NoteHash::detect(&note(), commitment), Some(vector.hash));
    }
    assert_eq!(NoteHash::detect(&note(), Commitment([7; 32])), None);
}

#[test]
fn another_owners_key_opens_nothing() {
    let sealed = seal(NoteHash::Concat, &note(), SECRET);
    let other = OWNER.replace("20", "21").parse().unwrap();
    assert_eq!(open(NoteHash::Concat, &sealed, other), None);
}

#[test]
fn a_note_with_any_byte_changed_does_not_open() {
    let sealed = seal(NoteHash::Concat, &note(), SECRET);
    for index in 0..PLAINTEXT_BYTES {
        let mut changed = sealed.clone();
        changed.ciphertext[index] ^= 1;
        assert_eq!(open(NoteHash::Concat, &changed, note().owner), None, "byte {index}");
    }
    let mut short = sealed;
    short.ciphertext.pop();
    assert_eq!(open(NoteHash::Concat, &short, note().owner), None);
}

#[test]
fn the_highest_value_is_sealed_whole() {
    let rich = Note { value: u64::MAX, ..note() };
    let sealed = seal(NoteHash::Concat, &rich, SECRET);
    assert_eq!(open(NoteHash::Concat, &sealed, rich.owner), Some(rich));
}

#[test]
fn the_json_for_the_sidecar_is_arrays_of_numbers() {
    let sealed = seal(NoteHash::Concat, &note(), SECRET);
    let json = serde_json::to_value(&sealed).unwrap();
    let numbers = |hex: &str| serde_json::json!(<Vec<u8>>::from_hex(hex).unwrap());
    let [vector, ..] = &VECTORS;
    let wanted = serde_json::json!({
        "ephemeral_pubkey": numbers(vector.ephemeral_pubkey),
        "ciphertext": numbers(vector.ciphertext),
        "commitment": numbers(vector.commitment),
    });
    assert_eq!(json, wanted);
    assert_eq!(serde_json::from_value::<SealedNote>(json).unwrap(), sealed);
}

#[test]
fn nothing_that_opens_a_note_shows_in_debug() {
    let shown = format!("{:?}", note());
    assert!(!shown.contains("0102") && !shown.contains("[1, 2"), "{shown}");
    assert!(!shown.contains("8081") && !shown.contains("128, 129"), "{shown}");
}

#[test]
fn a_key_is_64_hex_digits_in_either_case_and_not_zero() {
    let key = |text: &str| text.parse::<OwnerKey>();
    assert_eq!(key(&OWNER.to_uppercase()), key(OWNER));
    assert!(key(OWNER).is_ok());
    assert_eq!(key(&OWNER[1..]), Err(BadHex::Length(63)));
    assert_eq!(key(&format!("{OWNER}0")), Err(BadHex::Length(65)));
    assert_eq!(key(""), Err(BadHex::Length(0)));
    assert_eq!(key(&OWNER.replace("0a", "0g")), Err(BadHex::Digit));
    assert_eq!(key(&OWNER.replace("0a", "é0")), Err(BadHex::Digit));
    assert_eq!(key(&"0".repeat(64)), Err(BadHex::Zero));
}
