//! Requests signed for AWS (Signature Version 4), for Glue and S3 Tables.

use bytes::Bytes;
use http::HeaderValue;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider, RequestSigner};
use reqsign_core::{Context, HttpSend, OsEnv, ProvideCredential, Signer};
use reqwest::{Client, Request};
use sha2::{Digest as _, Sha256};

use super::answer::Failure;

const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Signs for one service of one region, with the credentials that AWS's own tools would find.
pub(super) struct Signing {
    signer: Signer<Credential>,
}

impl Signing {
    pub(super) fn new(service: &str, region: &str) -> Self {
        Self::with(service, region, DefaultCredentialProvider::new())
    }

    fn with(service: &str, region: &str, credentials: impl ProvideCredential<Credential = Credential>) -> Self {
        let context = Context::new()
            .with_env(OsEnv)
            .with_file_read(reqsign_file_read_tokio::TokioFileRead)
            .with_http_send(Http(Client::new()));
        Self { signer: Signer::new(context, credentials, RequestSigner::new(service, region)) }
    }

    /// Adds the headers of a signature over the whole request.
    pub(super) async fn sign(&self, request: &mut Request) -> Result<(), Failure> {
        let refused = |reason: String| Failure::NoCredentials { reason };
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let hash: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = HeaderValue::from_str(&hash).map_err(|e| refused(e.to_string()))?;
        request.headers_mut().insert(CONTENT_SHA256, hash);

        // All services but S3 sign a path whose segments are encoded a second time; the library signs as S3 wants it.
        let url = request.url();
        let mut signed = url.clone();
        signed.set_path(&url.path().replace('%', "%25"));
        let mut parts = http::Request::builder()
            .method(request.method().clone())
            .uri(signed.as_str())
            .body(())
            .map_err(|e| refused(e.to_string()))?
            .into_parts()
            .0;
        parts.headers = request.headers().clone();
        self.signer.sign(&mut parts, None).await.map_err(|e| refused(e.to_string()))?;
        *request.headers_mut() = parts.headers;
        Ok(())
    }
}

/// How credentials are asked for where they come from a server (instance profile, web identity).
#[derive(Debug)]
struct Http(Client);

impl HttpSend for Http {
    async fn http_send(&self, request: http::Request<Bytes>) -> reqsign_core::Result<http::Response<Bytes>> {
        let failed = |_| reqsign_core::Error::unexpected("a server of credentials did not answer");
        let request = Request::try_from(request).map_err(failed)?;
        let answer = self.0.execute(request).await.map_err(failed)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = http::Response::new(answer.bytes().await.map_err(failed)?);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reqsign_aws_v4::StaticCredentialProvider;

    use super::*;

    const KEY_ID: &str = "AKIDEXAMPLE";
    const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // RFC 2104.
    fn hmac(key: &[u8], text: &str) -> Vec<u8> {
        let mut block = [0u8; 64];
        block[..key.len()].copy_from_slice(key);
        let pad = |byte: u8| block.map(|b| b ^ byte);
        let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
        Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
    }

    /// The signature of a canonical request, as AWS describes it.
    fn signature(canonical: &str, time: &str, region: &str, service: &str) -> String {
        let date = &time[..8];
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let mut key = hmac(format!("AWS4{KEY}").as_bytes(), date);
        for part in [region, service, "aws4_request"] {
            key = hmac(&key, part);
        }
        hmac(&key, &text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Cases of AWS's Signature Version 4 test suite: method, path, query, signed headers, body, signature.
    #[test]
    fn the_test_s_own_signatures_are_those_that_aws_published() {
        let time = "20150830T123600Z";
        for (method, query, expected) in [
            ("GET", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            ("GET", "Param1=value1&Param2=value2", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ] {
            let canonical = format!(
                "{method}\n/\n{query}\nhost:example.amazonaws.com\nx-amz-date:{time}\n\nhost;x-amz-date\n{}",
                sha256(b"")
            );
            assert_eq!(signature(&canonical, time, "us-east-1", "service"), expected, "{method} {query}");
        }
    }

    #[tokio::test]
    async fn a_request_is_signed_as_aws_describes_it() {
        let signing = Signing::with("s3tables", "eu-central-1", StaticCredentialProvider::new(KEY_ID, KEY));
        let base = "https://s3tables.eu-central-1.amazonaws.com/iceberg/v1";
        for (path, canonical_path, query) in [
            ("/config", "/iceberg/v1/config", "warehouse=arn%3Aaws%3As3tables%3Aeu-central-1%3A1%3Abucket%2Fb"),
            (
                "/arn%3Aaws%3Ab%2Fc/namespaces/a%1Fb/tables/t",
                "/iceberg/v1/arn%253Aaws%253Ab%252Fc/namespaces/a%251Fb/tables/t",
                "",
            ),
        ] {
            let url = if query.is_empty() { format!("{base}{path}") } else { format!("{base}{path}?{query}") };
            let mut request = Client::new().post(&url).body("{\"a\":1}").build().unwrap();
            signing.sign(&mut request).await.unwrap();

            assert_eq!(request.url().as_str(), url, "only headers are added");
            let headers: BTreeMap<String, String> = request
                .headers()
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            let time = &headers["x-amz-date"];
            let said = &headers["authorization"];
            let (names, found) = said.split_once("SignedHeaders=").unwrap().1.split_once(", Signature=").unwrap();
            assert!(said.contains(&format!("{KEY_ID}/{}/eu-central-1/s3tables/aws4_request", &time[..8])), "{said}");
            assert!(names.contains("host") && names.contains("x-amz-content-sha256"), "{names}");
            let lines: String = names.split(';').map(|name| format!("{name}:{}\n", headers[name])).collect();
            let body = sha256(b"{\"a\":1}");
            let canonical = format!("POST\n{canonical_path}\n{query}\n{lines}\n{names}\n{body}");
            assert_eq!(found, signature(&canonical, time, "eu-central-1", "s3tables"), "{canonical}");
        }
    }
}
