//! Configured addresses as people are told them: in errors, in logs, in what a worker says of itself.

const HIDDEN: &str = "***";

/// A URL without user, password and query.
///
/// It may be wrong, and most often is for what is to be hidden: a password with characters that a URL must encode. So
/// nothing of its form is relied on: all before the last `@` goes, whatever stands in it, and what may be either a host or
/// a part of a secret goes too. Of what is no URL nothing is left.
#[must_use]
pub fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return HIDDEN.to_owned() };
    // A path of this machine; it has no user, but may have an `@`.
    if matches!(scheme, "sqlite" | "file") && rest.starts_with('/') {
        return format!("{scheme}://{}", rest.split('?').next().unwrap_or_default());
    }
    let place = |text: &str| text.split(['?', '#']).next().unwrap_or_default().to_owned();
    let told = match rest.rsplit_once('@') {
        // Of a query, or of a password with a `?`.
        Some((before, _)) if before.contains('?') => HIDDEN.to_owned(),
        Some((_, after)) => format!("{HIDDEN}@{}", place(after)),
        None if has_port(rest) => place(rest),
        None => HIDDEN.to_owned(),
    };
    format!("{scheme}://{told}")
}

// Or no port at all; other text behind a colon is rather a password without its host.
fn has_port(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    port.is_none_or(|port| port.ends_with(']') || port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn an_address_is_told_without_what_is_secret() {
        for (url, told) in [
            ("postgresql://u:p%40@db:5432/jobs?password=x", "postgresql://***@db:5432/jobs"),
            ("postgresql://db/x?password=secret", "postgresql://db/x"),
            ("postgresql://[::1]:5432/x", "postgresql://[::1]:5432/x"),
            ("http://db:80/x", "http://db:80/x"),
            ("http://[::1]/x#part", "http://[::1]/x"),
            ("sqlite:///tmp/a@b.db?mode=ro", "sqlite:///tmp/a@b.db"),
            ("file:///lake", "file:///lake"),
            ("s3://bucket/lake", "s3://bucket/lake"),
        ] {
            assert_eq!(without_secrets(url), told);
        }
    }

    #[test]
    fn a_password_that_no_url_may_have_is_not_told_either() {
        for (url, told) in [
            ("postgresql://u:pa/ss@db/x", "postgresql://***@db/x"),
            ("postgresql://u:pa#ss@db/x", "postgresql://***@db/x"),
            ("postgresql://u:pa@ss@db/x", "postgresql://***@db/x"),
            ("postgresql://u:pa?ss@db/x", "postgresql://***"),
            ("postgresql://db/x?password=pa@ss", "postgresql://***"),
            ("postgresql://u:pass/x", "postgresql://***"),
            ("sqlite://u:pa/ss@db", "sqlite://***@db"),
            ("postgresql:u:pass@db", "***"),
            ("u:pass@db", "***"),
        ] {
            assert_eq!(without_secrets(url), told, "{url}");
        }
    }
}
