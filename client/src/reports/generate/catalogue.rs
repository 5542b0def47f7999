//! What the world of made-up reports knows: packages, operating systems, and vulnerabilities with their facts.
//!
//! A fact is a function of the vulnerability and of the database that tells it, so that one CVE has one score and one date in every
//! report, as it does behind a real scanner.

use super::Random;
use crate::reports::Severity;

/// Names of packages, as Debian and Ubuntu have them.
const PACKAGES: &str = "adduser apparmor apt apt-utils base-files base-passwd bash bind9-host binutils bsdutils busybox-initramfs bzip2 \
    ca-certificates coreutils cpio cpp-9 cron curl dash dbus debconf debianutils diffutils dirmngr dnsutils docker.io dpkg e2fsprogs \
    eject file findutils fontconfig-config g++-9 gawk gcc-9 gcc-9-base ghostscript git git-man gnupg gpg gpgv grep gzip hostname \
    imagemagick init-system-helpers iproute2 iptables iputils-ping isc-dhcp-client krb5-locales less libapparmor1 libapt-pkg6.0 \
    libarchive13 libasn1-8-heimdal libattr1 libaudit1 libavahi-client3 libbind9-161 libblkid1 libbz2-1.0 libc-bin libc-dev-bin libc6 \
    libc6-dev libcap2 libcom-err2 libcups2 libcurl3-gnutls libcurl4 libdb5.3 libdbus-1-3 libdns1109 libelf1 libexpat1 libext2fs2 \
    libfdisk1 libffi7 libfreetype6 libgcc-s1 libgcrypt20 libgd3 libglib2.0-0 libgmp10 libgnutls30 libgomp1 libgs9 libgssapi-krb5-2 \
    libhogweed5 libicu66 libidn2-0 libjbig0 libjpeg-turbo8 libk5crypto3 libkrb5-3 libksba8 libldap-2.4-2 liblcms2-2 liblz4-1 liblzma5 \
    libmagic1 libmount1 libmysqlclient21 libncurses6 libnettle7 libnghttp2-14 libnss3 libopenjp2-7 libp11-kit0 libpam-modules \
    libpam0g libpcre2-8-0 libpcre3 libperl5.30 libpng16-16 libpolkit-gobject-1-0 libpq5 libprocps8 libpython3.8 libsasl2-2 \
    libseccomp2 libsmartcols1 libsqlite3-0 libss2 libssh-4 libssl1.1 libstdc++6 libsystemd0 libtasn1-6 libtiff5 libtinfo6 libudev1 \
    libuuid1 libwebp6 libx11-6 libxml2 libxpm4 libxslt1.1 libzstd1 locales login logrotate mount mysql-client nano ncurses-base \
    ncurses-bin nginx ntp openssh-client openssh-server openssl passwd patch perl perl-base policykit-1 procps python3.8 rsync sed \
    sudo systemd systemd-sysv tar tcpdump tzdata ubuntu-keyring udev unzip util-linux vim wget xxd zip zlib1g";

/// Where the vulnerabilities of an operating system come from, and what runs on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct System {
    pub(super) namespace: &'static str,
    pub(super) database: &'static str,
    pub(super) kernel: &'static str,
    pub(super) kernel_version: &'static str,
    /// Whether its database tells the very second and its own scores, not the days of publication of a list.
    pub(super) is_exact: bool,
}

const SYSTEMS: [System; 4] = [
    system("ubuntu:14.04", "ubuntu", "3.13.0-24.46"),
    system("ubuntu:18.04", "ubuntu", "4.15.0-20.21"),
    system("ubuntu:20.04", "ubuntu", "5.4.0-26.30"),
    system("debian:11", "debian", "5.10.140-1"),
];

/// What nodes with very many packages run, whose reports are too long for one value.
const LARGE: System = System {
    kernel: "kernel-headers",
    is_exact: true,
    ..system("rhel:8.10", "redhat", "4.18.0-553.5.1.el8_10")
};

const fn system(namespace: &'static str, database: &'static str, kernel_version: &'static str) -> System {
    System { namespace, database, kernel: "linux-libc-dev", kernel_version, is_exact: false }
}

impl System {
    pub(super) fn any(random: &mut Random, is_large: bool) -> Self {
        if is_large { LARGE } else { *random.one_of(&SYSTEMS) }
    }
}

/// An installed package.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: String,
    /// The version that mends what is mended.
    pub(super) fixed: String,
}

/// The kernel first, then `count` others. A package has one upstream version in a system; which update of it is installed is the asset's.
pub(super) fn packages(random: &mut Random, system: System, count: usize) -> Vec<Package> {
    let kernel = Package {
        name: system.kernel,
        version: system.kernel_version.to_owned(),
        fixed: format!("{}.{}", system.kernel_version, 90 + random.below(60)),
    };
    let mut names: Vec<&str> = PACKAGES.split_whitespace().collect();
    let others = (0..count.min(names.len())).map(|_| {
        let name = names.swap_remove(random.below(names.len() as u64) as usize);
        let mut fact = Random::of([text(name), text(system.namespace), 0]);
        let (major, minor, patch) = (fact.below(9), fact.below(40), fact.below(12));
        let revision = 1 + fact.below(6);
        let (update, later) = (random.below(12), 1 + random.below(8));
        let version = |update| format!("{major}.{minor}.{patch}-{revision}ubuntu0.{update}");
        Package { name, version: version(update), fixed: version(update + later) }
    });
    let others: Vec<Package> = others.collect();
    [kernel].into_iter().chain(others).collect()
}

/// Pairs of scores (v2, v3), in tenths, as they are most frequent.
const SCORES: [(u8, u8); 12] = [
    (21, 33),
    (19, 55),
    (43, 53),
    (46, 78),
    (49, 47),
    (50, 75),
    (68, 88),
    (72, 78),
    (75, 98),
    (21, 44),
    (69, 70),
    (43, 65),
];

/// The first year of vulnerabilities, and how many years there are.
const FIRST_YEAR: u64 = 2014;
const YEARS: u64 = 11;
/// Midnight before the first year.
const START: i64 = 1_388_534_400;
const YEAR: i64 = 31_557_600;
/// Days on which lists are published, over the years and one more.
const LISTS: i64 = 150;

/// What a database says of a vulnerability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Vulnerability {
    pub(super) year: u64,
    pub(super) number: u64,
}

/// See [`Vulnerability`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// In tenths.
    pub(super) score: u8,
    pub(super) score_v3: u8,
    pub(super) severity: Severity,
    pub(super) feed_rating: Severity,
    pub(super) published: i64,
    pub(super) modified: i64,
    /// The update that mends it, where each has its own.
    pub(super) update: Option<u64>,
}

impl Vulnerability {
    pub(super) fn any(random: &mut Random) -> Self {
        Self { year: FIRST_YEAR + random.below(YEARS), number: 1000 + random.below(49_000) }
    }

    pub(super) fn facts(self, system: System) -> Facts {
        let mut fact = Random::of([self.year, self.number, text(system.database)]);
        let (score, score_v3) = if system.is_exact {
            (20 + fact.below(70) as u8, 20 + fact.below(75) as u8)
        } else {
            *fact.one_of(&SCORES)
        };
        let begin = START + (self.year - FIRST_YEAR) as i64 * YEAR;
        let day = begin + fact.below(2 * YEAR as u64) as i64;
        // Databases are gone over again from time to time, and most of their entries then have a new date.
        let again = START + (YEARS as i64 + 2) * YEAR;
        let (published, modified) = match system.is_exact {
            true => (day, day + fact.below((again - day) as u64) as i64),
            false => (list(day), again + fact.below(24) as i64 * 1_296_007),
        };
        let severity = match score.max(score_v3) {
            90.. => Severity::Critical,
            _ if system.is_exact => own_word(&mut fact),
            70.. => Severity::High,
            40.. => Severity::Medium,
            _ => Severity::Low,
        };
        let feed_rating = if system.is_exact { own_word(&mut fact) } else { severity };
        let update = system.is_exact.then(|| fact.below(20_000));
        Facts { score, score_v3, severity, feed_rating, published, modified, update }
    }
}

/// Who has scores of his own also has words of his own for them.
fn own_word(fact: &mut Random) -> Severity {
    *fact.one_of(&[Severity::Low, Severity::Medium, Severity::High])
}

/// When the list of that time was published: at some quarter of an hour of its day.
fn list(time: i64) -> i64 {
    let between = (YEARS as i64 + 1) * YEAR / LISTS;
    let number = (time - START) / between;
    let quarter = Random::of([number as u64, 0, 0]).below(between as u64 / 900) as i64;
    START + (number * between / 900 + quarter) * 900
}

fn text(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
