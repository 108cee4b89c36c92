//! The file: lines of `name value`, so that an operator can look at a copy without a tool; what is binary is base64.

use std::fmt;
use std::iter::Peekable;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outrigger_protocol::identity::AgentKey;
use outrigger_protocol::limits;
use outrigger_protocol::seal::SealKeyPair;
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::{Enrollment, Keys};

/// The first line.
const PROGRAM: &str = "outrigger-agent";
const VERSION: &str = "identity 1";

/// The file's content: the keys, and what was made of them once something was.
pub(super) fn render(keys: &Keys, enrollment: Option<&Enrollment>) -> Zeroizing<Vec<u8>> {
    // More than the longest content: a buffer that grew would leave keys behind in freed memory.
    let chain: usize = enrollment.map_or(0, |enrolled| enrolled.chain.iter().map(|der| der.len() * 2).sum());
    let mut text = Zeroizing::new(String::with_capacity(2048 + chain));
    let mut line = |name: &str, value: &dyn fmt::Display| {
        use fmt::Write;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} {value}");
    };
    line(PROGRAM, &VERSION);
    line("signing-key", &*encode(keys.signing.pkcs8_der()));
    line("sealing-key", &*encode(&*keys.sealing.to_bytes()));
    if let Some(enrolled) = enrollment {
        line("agent", &enrolled.agent);
        line("instance", &enrolled.instance);
        line("deployment", &enrolled.deployment);
        for certificate in &enrolled.chain {
            line("certificate", &*encode(certificate));
        }
        if let Some(token) = &enrolled.token {
            line("join-token-digest", token);
        }
        line("end", &"");
    }
    Zeroizing::new(std::mem::take(&mut *text).into_bytes())
}

fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(bytes))
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    STANDARD.decode(text).map(Zeroizing::new).map_err(|_| "a line is not base64")
}

/// The keys and, of a whole file, what was made of them; or what is wrong.
pub(super) fn parse(text: &str) -> Result<(Keys, Option<Enrollment>), &'static str> {
    let mut lines = text.lines();
    if lines.next().and_then(|head| head.split_once(' ')) != Some((PROGRAM, VERSION)) {
        return Err("it does not begin as an identity of this version");
    }
    let mut fields = Fields(lines.map(|line| line.split_once(' ').unwrap_or((line, ""))).peekable());
    let signing = AgentKey::from_pkcs8_der(fields.bytes("signing-key")?).map_err(|_| "the signing key is not a key")?;
    let sealing = fields.bytes("sealing-key")?;
    let sealing: [u8; 32] = sealing.as_slice().try_into().map_err(|_| "the sealing key is not a key")?;
    let sealing = SealKeyPair::from_bytes(Zeroizing::new(sealing)).map_err(|_| "the sealing key is not a key")?;
    let keys = Keys { signing, sealing };
    if fields.0.peek().is_none() {
        return Ok((keys, None));
    }
    let agent = fields.id("agent")?;
    let instance = fields.id("instance")?;
    let deployment = fields.id("deployment")?;
    let mut chain = Vec::new();
    while chain.len() <= limits::CHAIN_CERTIFICATES
        && let Some(text) = fields.optional("certificate")
    {
        chain.push(CertificateDer::from(decode(text)?.to_vec()));
    }
    let token =
        fields.optional("join-token-digest").map(str::parse).transpose().map_err(|_| "a line is not a digest")?;
    fields.value("end")?;
    Ok((keys, Some(Enrollment { agent, instance, deployment, chain, token })))
}

struct Fields<'a, I: Iterator<Item = (&'a str, &'a str)>>(Peekable<I>);

impl<'a, I: Iterator<Item = (&'a str, &'a str)>> Fields<'a, I> {
    fn optional(&mut self, name: &str) -> Option<&'a str> {
        self.0.next_if(|(found, _)| *found == name).map(|(_, value)| value)
    }

    fn value(&mut self, name: &str) -> Result<&'a str, &'static str> {
        self.optional(name).ok_or("a line is missing")
    }

    fn bytes(&mut self, name: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        decode(self.value(name)?)
    }

    fn id<T: FromStr>(&mut self, name: &str) -> Result<T, &'static str> {
        self.value(name)?.parse().map_err(|_| "a line is not an id")
    }
}
