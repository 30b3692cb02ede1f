//! Who may use the verbs: whoever has the token, where one is configured, and no web page. The token is
//! compared by its digest, so that the time taken tells nothing about it; it is never logged.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::api::refusal::Refusal;
use crate::config::Secret;

type TokenDigest = [u8; 32];

/// The door.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<TokenDigest>,
}

impl Guard {
    pub fn new(token: Option<&Secret>) -> Self {
        let token = token.map(|token| digest(token.reveal().as_bytes()));
        Self { token }
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers
            .get(header::AUTHORIZATION)
            .map(HeaderValue::as_bytes);
        let given = given.and_then(|value| match value.split_at_checked(SCHEME.len()) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => Some(token),
            _ => None,
        });
        given.is_some_and(|given| {
            let differs = digest(given)
                .iter()
                .zip(token)
                .fold(0, |differs, (one, other)| differs | (one ^ other));
            differs == 0
        })
    }
}

const SCHEME: &[u8] = b"Bearer ";

fn digest(token: &[u8]) -> TokenDigest {
    Sha256::digest(token).into()
}

/// Lets a request in, or says why not.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    // A browser says where a page comes from; on loopback a page could post without a token.
    if request.headers().contains_key(header::ORIGIN) {
        let message = "admin verbs are not taken from web pages";
        return Refusal::new(StatusCode::FORBIDDEN, "from-a-page", message).into_response();
    }
    if guard.lets_in(request.headers()) {
        return next.run(request).await;
    }
    let message = "send the [admin] token as Authorization: Bearer TOKEN";
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
    let scheme = [(header::WWW_AUTHENTICATE, "Bearer")];
    (scheme, refusal).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    #[test]
    fn only_the_whole_token_opens_and_the_scheme_is_read_in_any_case() {
        let guard = Guard::new(Some(&Secret::new("c4nary".to_owned())));
        for good in ["Bearer c4nary", "bearer c4nary"] {
            assert!(guard.lets_in(&asks(good)), "{good}");
        }
        for bad in [
            "Bearer c4nar",
            "Bearer c4nary2",
            "Bearer ",
            "Bearer  c4nary",
            "Basic c4nary",
            "c4nary",
            "",
        ] {
            assert!(!guard.lets_in(&asks(bad)), "{bad}");
        }
        assert!(!guard.lets_in(&HeaderMap::new()));
        assert!(Guard::new(None).lets_in(&HeaderMap::new()));
        assert!(!format!("{guard:?}").contains("c4nary"));
    }
}
