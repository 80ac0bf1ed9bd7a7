//! Who may depend on whom among the packages, from what cargo knows: programs on service on wire,
//! programs on mining, and nothing the other way round.

use cargo_metadata::{DependencyKind, Metadata};

/// A package and the packages that it names.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder from the root of the checkout.
    pub folder: String,
    /// What its code uses.
    pub uses: Vec<String>,
    /// What its tests use beside that.
    pub tests_use: Vec<String>,
}

/// What the code of each package may use of the workspace.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("wire", &[]),
    ("mining", &[]),
    ("service", &["wire"]),
    ("pages", &["service"]),
    ("rpc", &["service"]),
    ("testkit", &["wire"]),
    ("template-provider", &["mining", "rpc", "service", "wire"]),
    ("pool-sv2", &["mining", "pages", "rpc", "service", "wire"]),
    ("translator-v1", &["mining", "pages", "service", "wire"]),
    ("cpu-miner", &["mining", "service", "wire"]),
    ("demo", &["service", "testkit"]),
    ("load", &["service", "testkit", "wire"]),
    ("tests", &["testkit"]),
];

/// What no package's code may use but those named.
const RESERVED: [(&str, &[&str]); 11] = [
    ("ring", &["wire"]),
    ("stratum-core", &["wire"]),
    ("channels_sv2", &[]),
    ("secp256k1", &["wire"]),
    ("proptest", &[]),
    ("axum", &["service"]),
    ("lettre", &["pool-sv2"]),
    ("maud", &["pages", "pool-sv2", "translator-v1"]),
    ("prometheus-client", &["service"]),
    ("ureq", &["pool-sv2"]),
    ("zeromq", &["template-provider"]),
];

/// What the pure rooms may not use: the runtime, the clock's and the network's crates.
const IMPURE: [&str; 8] =
    ["anyhow", "axum", "clap", "socket2", "tokio", "tokio-util", "tracing", "tracing-subscriber"];
const PURE: [&str; 2] = ["mining", "wire"];

/// The packages of the workspace.
pub fn of_workspace(metadata: &Metadata) -> Vec<Package> {
    let packages = metadata.workspace_packages();
    let own = packages.iter().map(|package| {
        let names = |kind: DependencyKind| {
            let wanted = package.dependencies.iter().filter(move |used| used.kind == kind);
            wanted.map(|used| used.name.clone()).collect()
        };
        let folder = package.manifest_path.parent().map(ToString::to_string).unwrap_or_default();
        let root = format!("{}/", metadata.workspace_root);
        Package {
            name: package.name.to_string(),
            folder: folder.strip_prefix(&root).unwrap_or(&folder).to_owned(),
            uses: names(DependencyKind::Normal),
            tests_use: names(DependencyKind::Development),
        }
    });
    own.collect()
}

/// Packages that use what they may not.
pub fn wrong_dependencies(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(|package| wrong_dependencies_of(package, packages)).collect()
}

fn wrong_dependencies_of(package: &Package, all: &[Package]) -> Vec<String> {
    let name = package.name.as_str();
    let Some((_, may_use)) = MAY_USE.iter().find(|(known, _)| *known == name) else {
        return vec![format!(
            "{name}: a new package; say in tests/src/packages.rs whom it may use"
        )];
    };
    let is_ours = |used: &str| all.iter().any(|other| other.name == used);
    let mut violations = Vec::new();
    for used in &package.uses {
        let reserved = RESERVED.iter().find(|(crate_name, _)| crate_name == used);
        if is_ours(used) && !may_use.contains(&used.as_str()) {
            violations.push(format!("{name} may not depend on {used}"));
        }
        if reserved.is_some_and(|(_, owners)| !owners.contains(&name)) {
            violations.push(format!("{name} may not depend on {used}: another room knows it"));
        }
        if PURE.contains(&name) && IMPURE.contains(&used.as_str()) {
            violations.push(format!("{name} is pure and may not depend on {used}"));
        }
    }
    // Tests of a program may use the testkit and what its code may use, but no other program.
    let tests_may = |used: &str| used == "testkit" || may_use.contains(&used);
    let wrong = package.tests_use.iter().filter(|used| is_ours(used) && !tests_may(used));
    violations.extend(wrong.map(|used| format!("tests of {name} may not depend on {used}")));
    violations
}

/// Packages whose folder has another name.
pub fn wrong_folders(packages: &[Package]) -> Vec<String> {
    let ends = |package: &&Package| {
        package.folder == package.name || package.folder.ends_with(&format!("/{}", package.name))
    };
    let wrong = packages.iter().filter(|package| !ends(package));
    wrong.map(|package| format!("{} is in the folder {}", package.name, package.folder)).collect()
}

/// Manifests that do not take lints and versions from the root.
pub fn own_rules(path: &str, manifest: &str) -> Vec<String> {
    let Ok(table) = manifest.parse::<toml::Table>() else {
        return vec![format!("{path}: no TOML")];
    };
    if !table.contains_key("package") {
        return Vec::new();
    }
    let inherits = |value: Option<&toml::Value>| {
        let inherited = value.and_then(|value| value.get("workspace"));
        inherited.and_then(toml::Value::as_bool) == Some(true)
    };
    let mut violations = Vec::new();
    if !inherits(table.get("lints")) {
        violations.push(format!("{path}: [lints] workspace = true is missing"));
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let used = table.get(section).and_then(toml::Value::as_table).into_iter().flatten();
        let own = used.filter(|(_, value)| !inherits(Some(value)));
        violations.extend(own.map(|(name, _)| {
            format!("{path}: the version of {name} belongs into the root's Cargo.toml")
        }));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[&str], tests_use: &[&str]) -> Package {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Package {
            name: name.to_owned(),
            folder: format!("somewhere/{name}"),
            uses: owned(uses),
            tests_use: owned(tests_use),
        }
    }

    /// The violations of one package, beside all that exist.
    fn violations(name: &str, uses: &[&str], tests_use: &[&str]) -> Vec<String> {
        let mut packages: Vec<_> =
            MAY_USE.iter().map(|(known, _)| package(known, &[], &[])).collect();
        packages.retain(|other| other.name != name);
        packages.push(package(name, uses, tests_use));
        wrong_dependencies(&packages)
    }

    #[test]
    fn the_ways_of_the_house_are_fine() {
        let fine = Vec::<String>::new();
        assert_eq!(
            violations("pool-sv2", &["wire", "mining", "service", "tokio"], &["testkit"]),
            fine
        );
        assert_eq!(violations("wire", &["ring", "bytes"], &["stratum-core"]), fine);
    }

    #[test]
    fn every_wrong_way_is_found() {
        for (name, used) in [
            ("wire", "mining"),
            ("mining", "wire"),
            ("wire", "tokio"),
            ("mining", "tokio"),
            ("service", "mining"),
            ("pool-sv2", "translator-v1"),
            ("pool-sv2", "testkit"),
            ("pool-sv2", "channels_sv2"),
            ("translator-v1", "ring"),
            ("mining", "stratum-core"),
            ("cpu-miner", "pool-sv2"),
        ] {
            assert_eq!(violations(name, &[used], &[]).len(), 1, "{name} on {used}");
        }
        assert_eq!(violations("pool-sv2", &[], &["template-provider"]).len(), 1);
        assert_eq!(violations("a-new-one", &[], &[]).len(), 1);
    }

    #[test]
    fn a_folder_of_another_name_is_found() {
        let mut moved = package("wire", &[], &[]);
        assert_eq!(wrong_folders(&[moved.clone()]), Vec::<String>::new());
        moved.folder = "shared/protocol".to_owned();
        assert_eq!(wrong_folders(&[moved]).len(), 1);
    }

    #[test]
    fn a_manifest_with_lints_or_versions_of_its_own_is_found() {
        let start = "[package]\nname = \"x\"\n";
        let fine =
            format!("{start}[lints]\nworkspace = true\n[dependencies]\na.workspace = true\n");
        assert_eq!(own_rules("x", &fine), Vec::<String>::new());
        assert_eq!(own_rules("x", start).len(), 1);
        let version = format!("{fine}[dev-dependencies]\nb = \"1\"\n");
        assert_eq!(own_rules("x", &version).len(), 1);
    }
}
