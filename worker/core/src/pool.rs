//! Names of pools: which workers begin which jobs.

/// The pool of a job that names none, which Airflow calls so too.
pub const DEFAULT: &str = "default_pool";

const MOST_CHARS: usize = 256;

/// Whether a text may name a pool.
///
/// # Errors
/// Why not, in words.
pub fn check(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("a pool without a name".to_owned());
    }
    if name.chars().any(char::is_control) {
        return Err(format!("the pool {name:?} holds a control character"));
    }
    match name.chars().count() {
        chars if chars > MOST_CHARS => {
            Err(format!("a pool's name has {chars} characters, expected {MOST_CHARS} at the most"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_may_be_called_as_in_airflow() {
        for name in [DEFAULT, "my pool, nightly (größer)", "a", &"ü".repeat(256)] {
            check(name).unwrap();
        }
        for name in ["", "  ", "a\nb", "a\tb", &"a".repeat(257)] {
            check(name).unwrap_err();
        }
    }
}
