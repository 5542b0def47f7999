//! Where a server is: the part of a URL that is needed to call it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::ServerName;

/// The text is no URL that can be called.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is no URL to call: {reason}")]
pub struct EndpointError {
    /// What was given.
    pub url: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The address of a server: `https://host[:port]`, or `http://127.0.0.1:port` for one that runs without
/// TLS on the same machine. Plain text to any other host is refused here, before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    tls: Option<ServerName<'static>>,
}

impl Endpoint {
    /// The name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether calls go over TLS.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the server runs on this machine, so that bytes cost less than compressing them.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback()) || self.host == "localhost"
    }

    /// The same server, whose certificate is for another name than its address: a certificate that several servers share, or a
    /// forwarded port.
    ///
    /// # Errors
    /// That is no name, or the server is called without TLS.
    pub fn certified_as(self, name: &str) -> Result<Self, EndpointError> {
        let invalid = |reason| EndpointError { url: self.to_string(), reason };
        if self.tls.is_none() {
            return Err(invalid("without TLS there is no certificate whose name could be another"));
        }
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| invalid("what its certificate is to be called is no name"))?;
        Ok(Self { tls: Some(name), ..self })
    }

    /// The name that the server's certificate has to carry.
    pub(crate) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.tls.as_ref()
    }

    /// `host:port` as it stands in a URL.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.authority())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let invalid = |reason| EndpointError { url: url.to_owned(), reason };
        let uri: http::Uri = url.trim().parse().map_err(|_| invalid("expected https://host:port"))?;
        let host = uri.host().ok_or_else(|| invalid("expected https://host:port"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if uri.path_and_query().is_some_and(|it| it.as_str() != "/") {
            return Err(invalid("nothing may follow the port"));
        }
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(invalid("it may hold no password"));
        }
        match uri.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| invalid("the host is no name"))?;
                Ok(Self { host, port: uri.port_u16().unwrap_or(443), tls: Some(name) })
            }
            Some("http") if host.parse().is_ok_and(|address: IpAddr| address.is_loopback()) => {
                Ok(Self { host, port: uri.port_u16().unwrap_or(80), tls: None })
            }
            Some("http") => Err(invalid("without TLS only a loopback address such as 127.0.0.1 is called")),
            _ => Err(invalid("expected https://host:port")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepts(url: &str, shown: &str) {
        assert_eq!(url.parse::<Endpoint>().expect(url).to_string(), shown);
    }

    #[track_caller]
    fn rejects(url: &str, part: &str) {
        let error = url.parse::<Endpoint>().expect_err(url).to_string();
        assert!(error.contains(part), "{error}");
    }

    #[test]
    fn urls() {
        accepts("https://larder.reports.svc:4001", "https://larder.reports.svc:4001");
        accepts("https://larder/", "https://larder:443");
        accepts("https://[::1]:4001", "https://[::1]:4001");
        accepts("http://127.0.0.1:4001", "http://127.0.0.1:4001");
        accepts("http://[::1]:4001", "http://[::1]:4001");
        rejects("http://larder:4001", "loopback");
        rejects("http://localhost:4001", "loopback");
        rejects("http://127.0.0.1.example.com:4001", "loopback");
        rejects("https://larder:4001/query", "nothing may follow");
        rejects("https://me:secret@larder", "no password");
        rejects("larder:4001", "expected https");
        rejects("ftp://larder", "expected https");
        rejects("", "expected https");
    }

    #[test]
    fn a_certificate_of_another_name() {
        let endpoint = |url: &str| url.parse::<Endpoint>().expect(url);
        let shared = endpoint("https://larder:4001").certified_as("NeuVector").expect("a name");
        assert_eq!(shared.to_string(), "https://larder:4001");
        assert_eq!(shared.server_name().map(ServerName::to_str).as_deref(), Some("NeuVector"));
        let spaced = endpoint("https://larder:4001").certified_as("no name").expect_err("no name");
        assert!(spaced.to_string().contains("is no name"), "{spaced}");
        assert!(endpoint("http://127.0.0.1:4001").certified_as("larder").is_err());
    }
}
