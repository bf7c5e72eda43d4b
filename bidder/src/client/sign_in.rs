//! Signing in: by a challenge signed in a token, or by account and password.

use std::sync::Arc;

use kaibiao_protocol::{
    blob::Blob,
    ids::{OrganisationId, UserId},
    moment::Moment,
    role::Role,
};
use kaibiao_sealed::{purpose::Purpose, signature::SigningFault, statements::Challenge};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{Client, ClientFault, Session, session::Bearer};
use crate::signer::{Signer, sign_cms};

/// What a person signs in with. Kept by the session, so that it can sign in again after the server has
/// forgotten it.
#[derive(Clone)]
pub enum Credentials {
    /// A certificate bound to an account, whose key signs the challenge.
    Token {
        /// The account, where the certificate is bound to several; usually none is needed.
        account: Option<UserId>,
        /// What signs.
        signer: Arc<dyn Signer>,
        /// The role to act in, where the account has several.
        role: Option<Role>,
    },
    /// Account and password.
    Password {
        /// The account.
        account: UserId,
        /// The password.
        password: Arc<Zeroizing<String>>,
        /// The role to act in, where the account has several.
        role: Option<Role>,
    },
}

impl Credentials {
    /// The account and its password.
    pub fn password(account: UserId, password: Zeroizing<String>) -> Self {
        Credentials::Password { account, password: Arc::new(password), role: None }
    }

    /// A token's signer.
    pub fn token(signer: Arc<dyn Signer>) -> Self {
        Credentials::Token { account: None, signer, role: None }
    }
}

#[derive(Serialize)]
struct ChallengeAsked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a UserId>,
}

#[derive(Deserialize)]
struct ChallengeGiven {
    challenge: String,
}

#[derive(Serialize)]
struct SignedChallenge {
    challenge: String,
    cms: Blob,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

#[derive(Serialize)]
struct PasswordForm<'a> {
    account: &'a UserId,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

#[derive(Deserialize)]
struct SignedIn {
    session: String,
    user: UserId,
    organisation: OrganisationId,
    role: Role,
    expires_at: Moment,
}

impl Client {
    /// Signs in.
    ///
    /// # Errors
    /// The server cannot be reached or refuses, the token does not sign, or the challenge is not one for this
    /// server: then it is not signed.
    pub async fn sign_in(&self, credentials: Credentials) -> Result<Session, ClientFault> {
        let bearer = self.patiently(async || self.sign_in_once(&credentials).await).await?;
        Ok(Session::begin(self.clone(), bearer, Some(credentials)))
    }

    pub(super) async fn sign_in_once(&self, credentials: &Credentials) -> Result<Bearer, ClientFault> {
        let signed_in: SignedIn = match credentials {
            Credentials::Token { account, signer, role } => {
                let asked = ChallengeAsked { account: account.as_ref() };
                let ChallengeGiven { challenge } = self.post("sign-in/challenge", &asked).await?;
                check_challenge(&challenge, &self.address().origin(), account.as_ref())?;
                let (signer, text) = (signer.clone(), challenge.clone());
                let cms = tokio::task::spawn_blocking(move || {
                    sign_cms(signer.as_ref(), Purpose::SignIn, text.as_bytes())
                })
                .await
                .expect("signing does not panic")
                .map_err(|fault| match fault {
                    SigningFault::Signer(fault) => ClientFault::Token(Arc::new(fault)),
                    SigningFault::Signature(fault) => ClientFault::NotSigned { why: fault.to_string() },
                })?;
                let signed = SignedChallenge { challenge, cms: Blob(cms), role: *role };
                self.post("sign-in/token", &signed).await?
            }
            Credentials::Password { account, password, role } => {
                let form = PasswordForm { account, password, role: *role };
                self.post("sign-in/password", &form).await?
            }
        };
        Ok(Bearer {
            session: Zeroizing::new(signed_in.session),
            user: signed_in.user,
            organisation: signed_in.organisation,
            role: signed_in.role,
            expires_at: signed_in.expires_at,
        })
    }

    async fn post<Form: Serialize, Shape: DeserializeOwned>(
        &self,
        path: &str,
        form: &Form,
    ) -> Result<Shape, ClientFault> {
        self.call(self.inner.http.post(self.inner.address.api(path)).json(form)).await
    }
}

/// A token signs nothing but a challenge made for this very server (threats.md 8: a foreign page must not get a
/// signature that serves elsewhere).
fn check_challenge(text: &str, origin: &str, account: Option<&UserId>) -> Result<(), ClientFault> {
    let strange = |why: String| ClientFault::StrangeChallenge { why };
    let challenge = Challenge::parse(text).map_err(|fault| strange(fault.to_string()))?;
    if challenge.origin != origin {
        return Err(strange(format!("it names {}, this is {origin}", challenge.origin)));
    }
    if challenge.account.as_ref() != account {
        return Err(strange("it names another account than the one asked for".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kaibiao_protocol::digest::Digest;

    use super::*;

    #[test]
    fn a_challenge_made_for_another_server_or_account_is_not_signed() {
        let wang: UserId = "wang".parse().unwrap();
        let challenge = |origin: &str, account: Option<&UserId>| {
            let (origin, account, expires_at) = (origin.to_owned(), account.cloned(), Moment(0));
            Challenge { origin, account, nonce: Digest([7; 32]), expires_at }.text()
        };
        let here = "https://bid.example.cn";
        assert!(check_challenge(&challenge(here, None), here, None).is_ok());
        assert!(check_challenge(&challenge(here, Some(&wang)), here, Some(&wang)).is_ok());
        for (text, account) in [
            (challenge("https://bid.example.cn.evil.cn", None), None),
            (challenge("http://bid.example.cn", None), None),
            (challenge(here, None), Some(&wang)),
            (challenge(here, Some(&wang)), None),
            ("pay 1000 yuan to mallory".to_owned(), None),
        ] {
            assert!(matches!(
                check_challenge(&text, here, account),
                Err(ClientFault::StrangeChallenge { .. })
            ));
        }
    }
}
