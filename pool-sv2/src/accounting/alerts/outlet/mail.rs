//! Mail, over SMTP. TLS from the first byte (`smtps://`), or by STARTTLS, which is insisted on
//! (`smtp://`); without TLS to this machine alone.

use lettre::address::AddressError;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};
use secrecy::{ExposeSecret, SecretString};
use service::config::{ConfigError, host_and_port};

use super::{ANSWER_MAX, Part, Refused, shown};
use crate::accounting::alerts::message::Message;

/// Who may be told by one receiver.
const RECIPIENTS_MAX: usize = 20;

/// A mail server, ready to be told.
#[derive(Debug)]
pub(in crate::accounting::alerts) struct MailOutlet {
    transport: SmtpTransport,
    secret: Option<SecretString>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl MailOutlet {
    pub(super) fn new(part: &Part<'_>) -> Result<Self, ConfigError> {
        let config = part.config;
        let from =
            part.needed("from", &config.from, "say who the mail is from, as POOL <a@b.c>")?;
        let from = mailbox(from).map_err(|error| part.unusable("from", error))?;
        if !(1..=RECIPIENTS_MAX).contains(&config.to.len()) {
            return Err(part.unusable("to", format!("name from 1 to {RECIPIENTS_MAX} addresses")));
        }
        let to: Result<Vec<_>, _> = config.to.iter().map(|address| mailbox(address)).collect();
        let to = to.map_err(|error| part.unusable("to", error))?;
        let secret = part.secret()?;
        let mut transport = transport(part)?;
        match (&config.user, &secret) {
            (Some(user), Some(secret)) => {
                let password = secret.expose_secret().to_owned();
                transport = transport.credentials(Credentials::new(user.clone(), password));
            }
            (None, None) => {}
            _ => return Err(part.unusable("user", "set both user and secret_file, or neither")),
        }
        Ok(Self { transport: transport.build(), secret, from, to })
    }

    pub(super) fn send(&self, message: &Message) -> Result<String, Refused> {
        let refused = |error: &dyn std::error::Error| {
            let mut reason = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                reason = format!("{reason}: {inner}");
                cause = inner.source();
            }
            Refused { reason: shown(&reason, self.secret.as_ref()), retry_after: None }
        };
        let mut mail = lettre::Message::builder().from(self.from.clone());
        for recipient in &self.to {
            mail = mail.to(recipient.clone());
        }
        let mail = mail.subject(&*message.title).header(ContentType::TEXT_PLAIN);
        let mail = mail.body(message.text_with_link()).map_err(|error| refused(&error))?;
        let response = self.transport.send(&mail).map_err(|error| refused(&error))?;
        let said = response.message().collect::<Vec<_>>().join(" ");
        let said = format!("SMTP {} {said}", response.code());
        Ok(shown(&said, self.secret.as_ref()))
    }
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|error: AddressError| format!("{text} is no mail address: {error}"))
}

fn transport(
    part: &Part<'_>,
) -> Result<lettre::transport::smtp::SmtpTransportBuilder, ConfigError> {
    let form = "name the server, as smtps://HOST:465 or smtp://HOST:587";
    let url = part.needed("url", &part.config.url, form)?;
    let (scheme, address) = url.split_once("://").ok_or_else(|| part.unusable("url", form))?;
    if address.contains('@') {
        return Err(
            part.unusable("url", "leave user and password out; they have keys of their own")
        );
    }
    let address = address.trim_end_matches('/');
    let (host, port) = host_and_port("url", address).map_err(|_| part.unusable("url", form))?;
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let is_here = matches!(&*name, "localhost" | "127.0.0.1" | "::1");
    let tls = match scheme {
        "smtps" => Tls::Wrapper(parameters(part, name.clone())?),
        "smtp" if is_here && part.config.ca_file.is_none() => Tls::None,
        "smtp" => Tls::Required(parameters(part, name.clone())?),
        _ => return Err(part.unusable("url", form)),
    };
    let builder = SmtpTransport::builder_dangerous(name).port(port).tls(tls);
    Ok(builder.timeout(Some(ANSWER_MAX)))
}

fn parameters(part: &Part<'_>, name: String) -> Result<TlsParameters, ConfigError> {
    let mut builder = TlsParameters::builder(name);
    if let Some(pem) = part.ca()? {
        let unusable =
            |error: lettre::transport::smtp::Error| part.unusable("ca_file", error.to_string());
        builder = builder.certificate_store(CertificateStore::None);
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(unusable)?);
    }
    builder.build().map_err(|error| part.unusable("ca_file", error.to_string()))
}
