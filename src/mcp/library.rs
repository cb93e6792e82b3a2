//! Resources and prompts: what each server has, kept true to it, and the heart's library.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rmcp::service::ServiceError;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::config::ServerConfig;
use super::convert;
use super::link::{Link, Trouble};
use super::pool::Pool;
use super::reason;
use super::roster::Roster;
use super::session::{Listed, Session, no_prompt, no_resource};
use super::supervise::CHANGES_SETTLE;
use crate::run::error::Error;
use crate::run::library::{FilledPrompt, Holdings, Prompt, Resource, ResourceTemplate};
use crate::run::message::ResourceContents;
use crate::run::ports::Library;

/// What one server has besides tools.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pub(super) resources: Arc<[Arc<Resource>]>,
    pub(super) templates: Arc<[Arc<ResourceTemplate>]>,
    pub(super) prompts: Arc<[Arc<Prompt>]>,
}

/// Keeps what is known of a server's resources and prompts true to it. Apart from the tools, so that a server that
/// hangs here keeps its tools.
pub(super) struct Shelving {
    pub(super) link: Arc<Link>,
    pub(super) roster: Arc<Roster>,
    pub(super) session: Arc<Session>,
    /// How often to look without being told; only for servers that may not be able to tell.
    pub(super) relist_every: Option<Duration>,
}

impl Shelving {
    /// Lists everything, and again whenever it may have changed, for as long as it is polled.
    pub(super) async fn follow(&self, changed: &Notify) -> Infallible {
        loop {
            self.list().await;
            let relist = async {
                match self.relist_every {
                    Some(interval) => sleep(interval).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed.notified() => sleep(CHANGES_SETTLE).await,
                () = relist => {}
            }
        }
    }

    /// Lists everything and publishes it. Of a list that cannot be had, what was known before stays.
    async fn list(&self) {
        let config = &self.link.config;
        let limit = config.connect_timeout;
        let (resources, templates, prompts) = tokio::join!(
            timeout(limit, self.session.resources()),
            timeout(limit, self.session.templates()),
            timeout(limit, self.session.prompts()),
        );
        let before = self.link.shelf().unwrap_or_default();
        let shelf = Shelf {
            resources: self.read(
                (Trouble::Resources, Trouble::ResourcesCut),
                "resources",
                resources,
                before.resources,
                |resource| convert::resource(config, resource),
            ),
            templates: self.read(
                (Trouble::Templates, Trouble::TemplatesCut),
                "resource templates",
                templates,
                before.templates,
                |template| convert::template(config, template),
            ),
            prompts: self.read(
                (Trouble::Prompts, Trouble::PromptsCut),
                "prompts",
                prompts,
                before.prompts,
                |prompt| convert::prompt(config, prompt),
            ),
        };
        self.roster.shelved(&self.link, shelf);
    }

    fn read<R, T>(
        &self,
        (trouble, is_cut): (Trouble, Trouble),
        list: &str,
        listed: Result<Result<Listed<R>, ServiceError>, tokio::time::error::Elapsed>,
        before: Arc<[Arc<T>]>,
        convert: impl Fn(R) -> Option<T>,
    ) -> Arc<[Arc<T>]> {
        let error = match listed {
            Ok(Ok(listed)) => {
                self.link.note(trouble, None);
                self.link.note(is_cut, listed.cut);
                return listed
                    .items
                    .into_iter()
                    .filter_map(convert)
                    .map(Arc::new)
                    .collect();
            }
            Ok(Err(error)) => reason::of_request(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        let server = &self.link.config.name;
        tracing::warn!(server, error, "the {list} cannot be listed");
        self.link
            .note(trouble, Some(format!("the {list} cannot be listed: {error}")));
        before
    }
}

#[async_trait]
impl Library for Pool {
    fn holdings(&self) -> Arc<Holdings> {
        self.roster().holdings()
    }

    async fn read(&self, server: &str, uri: &str, caller: &str) -> Result<Vec<ResourceContents>, Error> {
        let Some(link) = self.roster().link(server) else {
            return Err(no_resource(server, uri));
        };
        let _place = link.enter(caller).await?;
        open(&link)?.read(uri).await
    }

    async fn fill(
        &self,
        prompt: &str,
        arguments: BTreeMap<String, String>,
        caller: &str,
    ) -> Result<FilledPrompt, Error> {
        let links = self.roster().links();
        let holdings = self.roster().holdings();
        let Some(known) = holdings.prompt(prompt) else {
            let configs = links.iter().map(|link| &link.config);
            let owner = likely_owner(configs, prompt).and_then(|place| links.get(place));
            return Err(match owner.map(|link| open(link)) {
                Some(Err(error)) => error,
                _ => no_prompt(prompt),
            });
        };
        let violations = known.violations("arguments", &arguments);
        if !violations.is_empty() {
            return Err(Error::invalid_fields(violations));
        }
        let Some(link) = self.roster().link(&known.server) else {
            return Err(no_prompt(prompt));
        };
        let _place = link.enter(caller).await?;
        open(&link)?.fill(known, arguments).await
    }
}

/// The open connection to a server.
pub(super) fn open(link: &Link) -> Result<Arc<Session>, Error> {
    link.session()
}

/// Which server a tool or prompt that nobody lists would belong to: the one with the longest prefix that its name has.
pub(super) fn likely_owner<'a>(servers: impl Iterator<Item = &'a ServerConfig>, name: &str) -> Option<usize> {
    servers
        .enumerate()
        .filter(|(_, server)| name.starts_with(&server.prefix))
        .max_by_key(|(_, server)| server.prefix.len())
        .map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::super::config::{Endpoint, Remote};
    use super::*;

    #[test]
    fn a_prompt_belongs_to_the_server_with_the_longest_prefix_of_its_name() {
        let server = |name: &str, prefix: Option<&str>| {
            let remote = Remote {
                url: "http://127.0.0.1:1/mcp".to_owned(),
                headers: Vec::new(),
                oauth: super::super::config::OAuth::default(),
                caller_token: super::super::config::CallerToken::Ignore,
            };
            let mut server = ServerConfig::new(name, Endpoint::Http(remote));
            if let Some(prefix) = prefix {
                server.prefix = prefix.to_owned();
            }
            server
        };
        let all = [server("a", None), server("bare", Some("")), server("a__b", None)];
        for (prompt, expected) in [("a__x", 0), ("x", 1), ("a__b__x", 2), ("a_x", 1)] {
            assert_eq!(likely_owner(all.iter(), prompt), Some(expected), "{prompt}");
        }
        assert_eq!(likely_owner(all[..1].iter(), "x"), None);
    }
}
