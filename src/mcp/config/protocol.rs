//! Which revisions of the protocol a server is offered.

use rmcp::model::ProtocolVersion;
use rmcp::service::ClientLifecycleMode;

/// What `protocol` of a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The newest revision, which knows no sessions; and for a server that does not have it, a session.
    Auto,
    /// A session, of the newest revision that the server has, up to 2025-11-25; a child process that answers that with an
    /// error is offered 2026-07-28.
    Legacy,
    /// 2026-07-28 and nothing else.
    Stateless,
    /// This revision and nothing else.
    Version(ProtocolVersion),
}

impl Protocol {
    /// What may stand there, in words.
    pub(super) const EXPECTED: &'static str = "expected \"auto\", \"legacy\", \"stateless\" or a revision from \
                                               2024-11-05 to 2026-07-28";

    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "legacy" => Some(Self::Legacy),
            "stateless" => Some(Self::Stateless),
            text => {
                let mut known = ProtocolVersion::KNOWN_VERSIONS.iter();
                known
                    .find(|version| version.as_str() == text)
                    .cloned()
                    .map(Self::Version)
            }
        }
    }

    /// How to begin, first to last. rmcp falls back to a session by itself, except for a server that knows the newest
    /// revision's question but not the revision: that one is asked again.
    pub(in crate::mcp) fn lifecycles(&self) -> Vec<ClientLifecycleMode> {
        let newest_first = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: None,
        };
        match self {
            Self::Auto => vec![newest_first, ClientLifecycleMode::Initialize],
            Self::Stateless => vec![stateless()],
            Self::Version(version) if *version == ProtocolVersion::NO_INITIALIZE => vec![stateless()],
            Self::Legacy | Self::Version(_) => vec![ClientLifecycleMode::Initialize],
        }
    }

    /// The same for a child process: it is asked for a session unless its entry says otherwise, so one that knows none is
    /// then asked in the new way.
    pub(in crate::mcp) fn lifecycles_of_child(&self) -> Vec<ClientLifecycleMode> {
        match self {
            Self::Legacy => vec![ClientLifecycleMode::Initialize, stateless()],
            _ => self.lifecycles(),
        }
    }

    /// The revision that a session is asked for, when there is only one.
    pub(in crate::mcp) fn session_version(&self) -> Option<&ProtocolVersion> {
        match self {
            Self::Version(version) if *version != ProtocolVersion::NO_INITIALIZE => Some(version),
            _ => None,
        }
    }
}

/// 2026-07-28 and nothing else.
fn stateless() -> ClientLifecycleMode {
    ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    }
}
