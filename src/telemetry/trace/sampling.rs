//! Which requests are recorded, and whose traces they become a part of.
//!
//! A caller's `traceparent` decides only where the caller is trusted: the admin socket, and the networks
//! of `[traces] trust`. Anybody else could have every request of theirs recorded, or put spans into other
//! people's traces; of them the ratio decides, under a trace id of our own, and what they sent is kept as
//! a link, which says no more than that they said so.

use crate::x509::hex;

/// The share of traces that are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio(u64);

impl Ratio {
    /// Of a number from 0 to 1; anything beyond is the nearer of these.
    pub fn new(share: f64) -> Self {
        // 2^63, exact in a float.
        Self((share.clamp(0.0, 1.0) * 9_223_372_036_854_775_808.0) as u64)
    }

    /// As OpenTelemetry's samplers decide: by the last 63 bits of the trace's id.
    fn takes(self, trace: [u8; 16]) -> bool {
        let [_, _, _, _, _, _, _, _, low @ ..] = trace;
        u64::from_be_bytes(low) >> 1 < self.0
    }
}

/// What a `traceparent` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The trace.
    pub trace: [u8; 16],
    /// The span in it that asks.
    pub span: [u8; 8],
    /// Whether the caller records it.
    pub sampled: bool,
}

impl Remote {
    /// Parses `version-trace-span-flags` (W3C Trace Context §3.2); `None` if malformed.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let mut parts = header.splitn(5, |byte| *byte == b'-');
        let [version, trace, span, flags] = std::array::from_fn(|_| parts.next());
        let ([version], [flags]) = (hex(version?)?, hex(flags?)?);
        // §3.2.4: later versions may add parts; this one has four, and 255 is none.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (trace, span) = (hex(trace?)?, hex(span?)?);
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Lower case only, as §3.2.2.3 has it.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    hex::decode(std::str::from_utf8(text).ok()?)
}

/// Who begins a trace here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caller {
    /// What they say that it is a part of.
    pub(super) remote: Option<Remote>,
    /// Whether that counts.
    pub(super) trusted: bool,
}

/// The place of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    /// Whether the parent is another process's.
    pub(super) remote: bool,
    /// What a stranger says that it is a part of.
    pub(super) link: Option<([u8; 16], [u8; 8])>,
}

impl Context {
    /// Of a part of this one.
    pub(super) fn below(&self, span: [u8; 8]) -> Self {
        Self { trace: self.trace, span, parent: Some(self.span), remote: false, link: None }
    }
}

/// The place of a trace's first span here; `None` if it is not recorded.
pub(super) fn decide(ratio: Ratio, random: [u8; 24], caller: Caller) -> Option<Context> {
    let [span @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = random;
    let [_, _, _, _, _, _, _, _, trace @ ..] = random;
    let of_our_own = Context { trace, span, parent: None, remote: false, link: None };
    match caller {
        Caller { remote: Some(remote), trusted: true } => remote.sampled.then_some(Context {
            trace: remote.trace,
            parent: Some(remote.span),
            remote: true,
            ..of_our_own
        }),
        Caller { remote, trusted: _ } => {
            let link = remote.map(|remote| (remote.trace, remote.span));
            ratio.takes(trace).then_some(Context { link, ..of_our_own })
        }
    }
}
