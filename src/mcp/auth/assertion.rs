//! Assertions that we sign: a client without a secret proves who it is by its key (RFC 7523, section 2.2).

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use uuid::Uuid;

use super::clock;
use super::error::AuthError;

/// How long an assertion is good for: it is sent at once.
const LIFETIME_SECONDS: u64 = 60;

/// A private key.
pub(super) enum Signer {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl Signer {
    /// Reads a key in PKCS #8, as PEM: one of the curve P-256, or of RSA.
    pub(super) fn read(path: &Path) -> Result<Self, AuthError> {
        let unfit = |reason: String| AuthError::File {
            path: path.to_owned(),
            reason,
        };
        let pem = std::fs::read(path).map_err(|error| unfit(error.to_string()))?;
        Self::of_pem(&pem).ok_or_else(|| {
            unfit("expected a private key in PKCS #8 as PEM, of the curve P-256 or of RSA".to_owned())
        })
    }

    fn of_pem(pem: &[u8]) -> Option<Self> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
        let der = key.secret_pkcs8_der();
        let curve =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new()).ok();
        curve
            .map(Self::Es256)
            .or_else(|| RsaKeyPair::from_pkcs8(der).ok().map(Self::Rs256))
    }

    /// Says that we are this client, to this authorization server.
    pub(super) fn assertion(&self, client: &str, issuer: &str) -> Result<String, AuthError> {
        let now = clock::now();
        let algorithm = match self {
            Self::Es256(_) => "ES256",
            Self::Rs256(_) => "RS256",
        };
        let header = json!({"alg": algorithm, "typ": "JWT"});
        let claims = json!({
            "iss": client,
            "sub": client,
            "aud": issuer,
            "jti": Uuid::new_v4().to_string(),
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.signature(signed.as_bytes());
        let signature =
            signature.ok_or_else(|| AuthError::Configuration("the client's key does not sign".to_owned()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(key) => key
                .sign(&random, message)
                .ok()
                .map(|signature| signature.as_ref().to_vec()),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
        }
    }
}
