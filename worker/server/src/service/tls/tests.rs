//! Certificates whose times are known.

use std::time::SystemTime;

use moulin_core::Secret;

use super::validity::{Standing, Validity};
use super::{Tls, certificates, pem};
use crate::config::TlsSettings;

/// From 2020-01-01 to 2030-01-01.
const TEN_YEARS: &str = "\
-----BEGIN CERTIFICATE-----
MIIBMTCB2aADAgECAgEHMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWF1dGhvcml0
eTAeFw0yMDAxMDEwMDAwMDBaFw0zMDAxMDEwMDAwMDBaMBYxFDASBgNVBAMMC3dv
cmtlci50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1zmwK9EKJyxw51qw
scYQ/qZDpS2Fjh9V1gjSvvs520y+B5iJ/1Jcyg6SvPUMvjId8SGPnEjQj1JA/rj5
HrXzbaMaMBgwFgYDVR0RBA8wDYILd29ya2VyLnRlc3QwCgYIKoZIzj0EAwIDRwAw
RAIgD0557vt6XX07uj0lB3wyRwohtd6acg6LstgG5rcKw+ACIHcuyNlxRv0MQq+m
SQ/t9OqMtasZlqwPuRYVmlb1CV0e
-----END CERTIFICATE-----
";

/// From 2020-01-01 to 9999-12-31 23:59:59, which stands for "no end" (RFC 5280, section 4.1.2.5).
const WITHOUT_END: &str = "\
-----BEGIN CERTIFICATE-----
MIIBMzCB26ADAgECAgEHMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWF1dGhvcml0
eTAgFw0yMDAxMDEwMDAwMDBaGA85OTk5MTIzMTIzNTk1OVowFjEUMBIGA1UEAwwL
d29ya2VyLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASdZ+AZepcuUm72
hlNudqTPQks3jDm2uU9n6c8YxLykO5Jpqj3HXW5gj87vBNy8KbnzrmmGMD/ARoRY
gF6kMJeaoxowGDAWBgNVHREEDzANggt3b3JrZXIudGVzdDAKBggqhkjOPQQDAgNH
ADBEAiA/h560bdrLlQQ10DkiPpS22TG8J8RTpklgqQS3do7d8QIgR5Bj1kZ2T2Js
BhbLttsi1oHGeNKA+g5WmOrR+Uw+7ZQ=
-----END CERTIFICATE-----
";

fn validity(pem: &str) -> Validity {
    Validity::of(&certificates("tls.certificate", pem.as_bytes()).unwrap()[0])
}

fn at(text: &str) -> SystemTime {
    humantime::parse_rfc3339(text).unwrap()
}

#[test]
fn a_certificate_says_from_when_to_when_it_is_valid() {
    let validity = validity(TEN_YEARS);
    for (moment, standing) in [
        ("2019-12-31T23:59:59Z", Standing::NotYet),
        ("2020-01-01T00:00:00Z", Standing::Valid),
        ("2029-12-18T00:00:00Z", Standing::Valid),
        ("2029-12-18T00:00:01Z", Standing::Soon(13)),
        ("2029-12-31T23:59:59Z", Standing::Soon(0)),
        ("2030-01-01T00:00:01Z", Standing::Over),
    ] {
        assert_eq!(validity.standing(at(moment)), standing, "{moment}");
    }
    assert!(validity.to_string().contains("2030-01-01T00:00:00Z"), "{validity}");
}

#[test]
fn a_certificate_without_an_end_is_valid_for_ever() {
    let validity = validity(WITHOUT_END);
    assert_eq!(validity.standing(at("9999-12-31T00:00:00Z")), Standing::Valid);
    assert_eq!(validity.to_string(), "valid for ever");
}

#[test]
fn pem_may_stand_in_a_setting_in_one_line() {
    let one_line = TEN_YEARS.replace('\n', "\\n");
    assert_eq!(pem("tls.certificate", &one_line).unwrap(), TEN_YEARS.as_bytes());
}

#[test]
fn without_a_certificate_there_is_no_tls() {
    assert!(Tls::open(&TlsSettings::default()).unwrap().is_none());
}

#[test]
fn a_private_key_is_in_no_error() {
    let settings = TlsSettings {
        certificate: Some(TEN_YEARS.to_owned()),
        private_key: Some(Secret::new("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")),
        client_ca: None,
    };
    let fault = Tls::open(&settings).err().unwrap();
    assert!(fault.message.contains("tls.private_key"), "{}", fault.message);
    assert!(!fault.report().contains("hunter2"), "{}", fault.report());
    assert!(!format!("{settings:?}").contains("hunter2"));
}
