//! The image as far as it can be judged without building it: what its last stage holds, that the manifests fit to it, and that the binary
//! finds in it whatever it links.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::objects::{OVERLAYS, larder, manifests, parsed, pod_template, printed};
use crate::pod::Pod;

/// The last stage of the Dockerfile.
pub(crate) struct Stage {
    instructions: Vec<(String, String)>,
}

impl Stage {
    pub(crate) fn last() -> Self {
        let text = std::fs::read_to_string(repository().join("Dockerfile")).unwrap();
        let text = text.replace("\\\n", " ");
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let all: Vec<_> = lines.map(|line| line.split_once(' ').unwrap()).collect();
        let from = all.iter().rposition(|(word, _)| *word == "FROM").unwrap();
        let owned = |(word, rest): &(&str, &str)| ((*word).to_owned(), rest.trim().to_owned());
        Self { instructions: all[from..].iter().map(owned).collect() }
    }

    fn only(&self, word: &str) -> &str {
        let mut found = self.instructions.iter().filter(|(it, _)| it == word);
        let (_, rest) = found.next().unwrap_or_else(|| panic!("no {word}"));
        assert!(found.next().is_none(), "{word} twice");
        rest
    }

    /// Where the binary is.
    pub(crate) fn binary(&self) -> PathBuf {
        self.only("COPY").split_whitespace().last().unwrap().into()
    }

    /// User and group.
    pub(crate) fn user(&self) -> (u32, u32) {
        let (user, group) = self.only("USER").split_once(':').unwrap();
        (user.parse().unwrap(), group.parse().unwrap())
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The libraries of Debian's libc6 and libgcc-s1, which the base has. (libstdc++6 and libgomp1, which it has too, are not wanted.)
const LIBRARIES: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];
/// Debian 12's C library.
const GLIBC: (u32, u32) = (2, 36);

/// What the binary names as needed.
pub(crate) fn needed(binary: &Path) -> Vec<String> {
    let dynamic = printed(Command::new("readelf").args(["--dynamic", "--wide"]).arg(binary));
    let name =
        |line: &str| Some(line.split_once("(NEEDED)")?.1.split_once('[')?.1.trim_end_matches(']').to_owned());
    dynamic.lines().filter_map(name).collect()
}

#[test]
fn the_binary_links_what_the_base_has_and_nothing_else() {
    let binary = larder();
    let needed = needed(&binary);
    assert!(needed.iter().any(|it| it == "libc.so.6"), "{needed:?}");
    for library in &needed {
        assert!(LIBRARIES.contains(&library.as_str()), "{library} is not in the image");
    }
    let symbols = printed(Command::new("readelf").args(["--version-info", "--wide"]).arg(&binary));
    let versions = symbols.split("Name: GLIBC_").skip(1).filter_map(|rest| {
        let version = rest.split_whitespace().next()?;
        let mut numbers = version.split('.').map(|it| it.parse().unwrap());
        Some((numbers.next()?, numbers.next()?))
    });
    let newest: (u32, u32) = versions.max().unwrap();
    assert!(newest <= GLIBC, "needs glibc {newest:?}, the image has {GLIBC:?}");
}

#[test]
fn the_image_is_as_the_manifests_want_it() {
    let stage = Stage::last();
    let words: Vec<_> = stage.instructions.iter().map(|(word, _)| word.as_str()).collect();
    assert!(!words.contains(&"RUN"), "there is no shell to run anything with: {words:?}");
    assert_eq!(stage.only("FROM"), "${RUNTIME_IMAGE}");
    assert_eq!(stage.only("ENTRYPOINT"), format!("[\"{}\"]", stage.binary().display()));
    let dockerfile = std::fs::read_to_string(repository().join("Dockerfile")).unwrap();
    assert!(dockerfile.contains("ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot\n"));
    let rust = include_str!("../../Cargo.toml").split("rust-version = \"").nth(1).unwrap();
    let rust = rust.split('"').next().unwrap();
    assert!(
        dockerfile.contains(&format!("ARG RUST_IMAGE=docker.io/library/rust:{rust}-bookworm\n")),
        "{rust}"
    );
    for (overlay, _) in OVERLAYS {
        let pod = Pod::of(&manifests(&[overlay]));
        let security = &pod.spec()["securityContext"];
        let user = [&security["runAsUser"], &security["runAsGroup"]].map(|it| it.as_u64().unwrap() as u32);
        assert_eq!((user[0], user[1]), stage.user(), "{overlay}");
        let ports = [pod.port("sql"), pod.port("probe")].map(|it| it.to_string());
        assert_eq!(stage.only("EXPOSE"), ports.join(" "), "{overlay}");
        assert!(pod.container()["command"].is_null(), "{overlay} does not use the entry point");
    }
}

/// The other commands that the manifests run take the arguments that they are given. (The server and the certificates' jobs are run.)
#[test]
fn every_flag_in_a_manifest_is_one_of_its_command() {
    let everything = [manifests(&["apiserver", "--backup"]), manifests(&["neuvector"])].join("---\n");
    let mut looked_at = std::collections::BTreeSet::new();
    for container in parsed(&everything)
        .iter()
        .filter_map(pod_template)
        .flat_map(|it| it["spec"]["containers"].as_array().unwrap())
    {
        let args: Vec<_> =
            container["args"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        let (command, flags): (Vec<&str>, Vec<&str>) = args.iter().partition(|it| !it.starts_with("--"));
        let help = Command::new(larder()).args(&command).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        // A binary without an API server that registers itself has nothing to say about its flags.
        if command[0] == "apiserver" && !help.contains("--register") {
            continue;
        }
        for flag in flags.iter().map(|it| it.split('=').next().unwrap()) {
            let is_there = |line: &str| line.split_whitespace().any(|word| word == flag);
            assert!(help.lines().any(is_there), "{command:?} has no {flag}");
        }
        looked_at.insert(command.join(" "));
    }
    for command in ["serve", "certs secrets", "backup"] {
        assert!(looked_at.contains(command), "{looked_at:?}");
    }
}

#[test]
fn the_build_sees_every_file_that_is_built_in() {
    let ignored = std::fs::read_to_string(repository().join(".dockerignore")).unwrap();
    let ignored: Vec<_> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    let mut found = 0;
    for directory in ["src", "apiserver/src", "client/src", "engine/src", "wire/src"] {
        for file in sources(&repository().join(directory)) {
            let text = std::fs::read_to_string(&file).unwrap();
            for name in text.split("include_str!(\"").skip(1).filter_map(|it| it.split('"').next()) {
                let path = file.parent().unwrap().join(name).canonicalize().unwrap();
                let path = path.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned();
                let is_left_out = |it: &&str| path == **it || path.starts_with(&format!("{it}/"));
                assert!(!ignored.iter().any(is_left_out), "{path} is not in the image's build");
                found += 1;
            }
        }
    }
    assert!(found > 5, "{found}");
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return all };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            all.push(path);
        }
    }
    all
}
