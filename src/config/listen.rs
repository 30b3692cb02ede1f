//! `[api]` and `[admin]`: where the process can be reached. Loopback unless the file says otherwise.

use std::net::{Ipv4Addr, SocketAddr};

use super::fields::{Broken, Field, Fields};
use super::secret::Secret;

/// `[api]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Where the API listens.
    pub listen: SocketAddr,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where metrics, health and the admin verbs listen.
    pub listen: SocketAddr,
    /// Asked for with every admin verb; required when `listen` is not loopback.
    pub token: Option<Secret>,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8081).into(),
            token: None,
        }
    }
}

impl Api {
    pub(super) fn read(mut fields: Fields<'_>) -> Self {
        let listen = fields.field("listen").and_then(|field| address(&field));
        let api = Self {
            listen: listen.unwrap_or(Self::default().listen),
        };
        fields.end(Vec::new());
        api
    }
}

impl Admin {
    pub(super) fn read(mut fields: Fields<'_>, api: &Api) -> Self {
        let listen = fields.field("listen").and_then(|field| address(&field));
        let token = fields.field("token");
        let admin = Self {
            listen: listen.unwrap_or(Self::default().listen),
            token: token.and_then(|field| field.secret(Secret::new)),
        };
        fields.end(admin.validate(api));
        admin
    }

    fn validate(&self, api: &Api) -> Vec<Broken> {
        let mut broken = Vec::new();
        if self.listen == api.listen && self.listen.port() != 0 {
            let what = format!("{}: expected another port than api.listen", self.listen);
            broken.push(Broken::new("listen", what));
        }
        match &self.token {
            None if !self.listen.ip().is_loopback() => {
                let what = format!(
                    "expected a token, by env:NAME or file:PATH: {} is not loopback",
                    self.listen
                );
                broken.push(Broken::new("token", what));
            }
            // It comes in a header.
            Some(token) if !is_visible(token.reveal()) => {
                broken.push(Broken::new("token", "expected visible ASCII characters"));
            }
            _ => {}
        }
        broken
    }
}

fn is_visible(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| matches!(b, 0x21..=0x7e))
}

fn address(field: &Field<'_>) -> Option<SocketAddr> {
    let text = field.text()?;
    text.parse().ok().or_else(|| {
        let shown = super::fields::quoted(&text);
        field.refuse(format_args!(
            "{shown}: expected address:port like 127.0.0.1:8080"
        ));
        None
    })
}
