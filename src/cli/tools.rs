//! `assistd tools`.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use crate::api::pb;
use crate::config::Settings;

use super::client::{self, Client};
use super::error::Error;
use super::proto_json::ProtoJson;
use super::terminal::brief;

/// What `tools` takes.
#[derive(Debug, Args)]
pub struct ToolsArguments {
    /// Print a ListToolsResponse as JSON
    #[arg(long)]
    json: bool,

    /// Only the tools of this MCP server
    #[arg(long, value_name = "NAME")]
    of: Option<String>,

    /// The MCP servers and how they are, instead of their tools
    #[arg(long, conflicts_with = "of")]
    servers: bool,

    /// Accept tools that are held back because they changed: those of an MCP server, or one of them, by its name in the
    /// list; the prefix SERVER__ may be left out
    #[arg(long, value_name = "SERVER[/TOOL]", conflicts_with_all = ["of", "servers"])]
    accept: Option<String>,
}

const DESCRIPTION_CHARS: usize = 80;
const MESSAGE_CHARS: usize = 200;
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the tools.
pub async fn run(settings: &Settings, arguments: &ToolsArguments) -> Result<(), Error> {
    let mut client = client::connect(settings).await?;
    if let Some(place) = &arguments.accept {
        let (server, tool) = place.split_once('/').unwrap_or((place, ""));
        let accepted = accept(&mut client, server, tool).await?;
        let text = if arguments.json {
            ProtoJson::of("AcceptToolsResponse")?.line(&accepted)? + "\n"
        } else {
            tools("tools held back there", "ACCEPTED", &accepted.tools)
        };
        io::stdout().write_all(text.as_bytes())?;
        return Ok(());
    }
    if arguments.servers {
        let mut request = tonic::Request::new(pb::HealthRequest {});
        request.set_timeout(HEALTH_TIMEOUT);
        let health = client.health(request).await?.into_inner();
        let text = if arguments.json {
            ProtoJson::of("HealthResponse")?.line(&health)? + "\n"
        } else {
            servers(&health)
        };
        io::stdout().write_all(text.as_bytes())?;
        return Ok(());
    }
    let list = list(&mut client, arguments.of.as_deref().unwrap_or_default()).await?;
    let text = if arguments.json {
        ProtoJson::of("ListToolsResponse")?.line(&list)? + "\n"
    } else {
        tools("tools", "NAME", &read(&list)?)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// Every tool of a server, or of all.
async fn list(client: &mut Client, server: &str) -> Result<pb::ListToolsResponse, Error> {
    let mut list = pb::ListToolsResponse::default();
    loop {
        let request = pb::ListToolsRequest {
            page_token: std::mem::take(&mut list.next_page_token),
            server: server.to_owned(),
            ..Default::default()
        };
        let page = client.list_tools(request).await?.into_inner();
        list.tools.extend(page.tools);
        list.catalogue_version = page.catalogue_version;
        list.next_page_token = page.next_page_token;
        if list.next_page_token.is_empty() {
            return Ok(list);
        }
    }
}

/// The tools of a list.
fn read(list: &pb::ListToolsResponse) -> Result<Vec<pb::Tool>, Error> {
    list.tools().map_err(Error::service)
}

/// Accepts the tools of a server that are held back, or the one of this name, as it is listed; `SERVER__` before it may be
/// left out. They are accepted as they are listed now, and not as they may have become since: where none is held back,
/// nothing is asked for, since a service that is told of no digest compares none.
async fn accept(client: &mut Client, server: &str, tool: &str) -> Result<pb::AcceptToolsResponse, Error> {
    let listed = read(&list(client, server).await?)?;
    let names = [format!("tools/{tool}"), format!("tools/{server}__{tool}")];
    let is_meant = |listed: &&pb::Tool| tool.is_empty() || names.contains(&listed.name);
    let meant: Vec<&pb::Tool> = listed.iter().filter(is_meant).collect();
    if meant.is_empty() && !tool.is_empty() {
        return Err(Error::service(format!(
            "MCP server {server:?} has no tool named {tool:?} now"
        )));
    }
    let held = meant
        .iter()
        .filter_map(|tool| Some((tool.name.clone(), tool.quarantine.as_ref()?.digest.clone())));
    let (tools, digests): (Vec<String>, Vec<String>) = held.unzip();
    if digests.is_empty() {
        return Ok(pb::AcceptToolsResponse::default());
    }
    let request = pb::AcceptToolsRequest {
        server: server.to_owned(),
        tools,
        digests,
    };
    Ok(client.accept_tools(request).await?.into_inner())
}

fn servers(health: &pb::HealthResponse) -> String {
    let rows: Vec<[String; 3]> = health.mcp_servers.iter().map(server_cells).collect();
    let mut text = table(["NAME", "STATE", "TOOLS"], &rows);
    if !health.mcp_configuration_problem.is_empty() {
        let problem = brief(&health.mcp_configuration_problem, MESSAGE_CHARS);
        text.push_str(&format!("the configuration of before is in force: {problem}\n"));
    }
    text
}

fn server_cells(server: &pb::McpServerHealth) -> [String; 3] {
    let state = match server.state() {
        pb::McpServerState::Unspecified => "unknown",
        pb::McpServerState::Connecting => "connecting",
        pb::McpServerState::Ready => "ready",
        pb::McpServerState::Degraded => "degraded",
        pb::McpServerState::Down => "down",
        pb::McpServerState::Disabled => "disabled",
        pb::McpServerState::Quarantined => "quarantined",
        pb::McpServerState::Unauthorized => "unauthorized",
    };
    let message = brief(&server.message, MESSAGE_CHARS);
    let separator = if message.is_empty() { "" } else { "  " };
    [
        brief(&server.name, usize::MAX),
        state.to_owned(),
        format!("{}{separator}{message}", server.tool_count),
    ]
}

/// These tools under such a head, or that there are none. The policy is told of where there is something to tell.
fn tools(what: &str, head: &str, list: &[pb::Tool]) -> String {
    let rows: Vec<[String; 4]> = list.iter().map(cells).collect();
    if list.iter().any(|tool| tool.policy() != pb::ToolPolicy::Allow) {
        return listing(what, [head, "SERVER", "POLICY", "DESCRIPTION"], &rows);
    }
    let rows: Vec<[String; 3]> = rows
        .into_iter()
        .map(|[name, server, _, description]| [name, server, description])
        .collect();
    listing(what, [head, "SERVER", "DESCRIPTION"], &rows)
}

fn cells(tool: &pb::Tool) -> [String; 4] {
    let name = tool.name.strip_prefix("tools/").unwrap_or(&tool.name);
    let description = match tool.description.as_str() {
        "" => &tool.title,
        description => description,
    };
    let description = brief(description, DESCRIPTION_CHARS);
    let policy = match tool.policy() {
        pb::ToolPolicy::Unspecified => "unknown",
        pb::ToolPolicy::Allow => "",
        pb::ToolPolicy::Ask => "ask",
        pb::ToolPolicy::Deny => "deny",
    };
    [
        brief(name, usize::MAX),
        brief(&tool.server, usize::MAX),
        policy.to_owned(),
        match &tool.quarantine {
            Some(held) => {
                let changed = held.changed_fields.join(", ");
                format!(
                    "HELD BACK, changed: {}; {description}",
                    brief(&changed, DESCRIPTION_CHARS)
                )
            }
            None => description,
        },
    ]
}

/// A table of these things, or that there are none.
pub fn listing<const N: usize>(what: &str, head: [&str; N], rows: &[[String; N]]) -> String {
    match rows {
        [] => format!("there are no {what}\n"),
        rows => table(head, rows),
    }
}

/// Columns of equal width, but for the last.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or_default()
    });
    let head = head.map(str::to_owned);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_shown_with_where_they_are_and_why() {
        let server = |name: &str, state: pb::McpServerState, message: &str| pb::McpServerHealth {
            name: name.into(),
            state: state.into(),
            message: message.into(),
            ..Default::default()
        };
        let health = pb::HealthResponse {
            mcp_servers: vec![
                server("files", pb::McpServerState::Ready, ""),
                server("wiki", pb::McpServerState::Down, "cannot connect"),
            ],
            mcp_configuration_problem: "mcp.json: not valid JSON".into(),
            ..Default::default()
        };
        let expected = "\
NAME   STATE  TOOLS
files  ready  0
wiki   down   0  cannot connect
the configuration of before is in force: mcp.json: not valid JSON
";
        assert_eq!(servers(&health), expected);
    }

    #[test]
    fn tools_are_shown_by_their_bare_names_in_columns() {
        let tool = |name: &str, policy: pb::ToolPolicy, title: &str, description: &str| pb::Tool {
            name: name.into(),
            title: title.into(),
            description: description.into(),
            server: "builtin".into(),
            policy: policy.into(),
            ..Default::default()
        };
        let mut list = [
            tool("tools/echo", pb::ToolPolicy::Allow, "", "Says it again.\nTwice."),
            tool("tools/files__read", pb::ToolPolicy::Allow, "Reads a file", ""),
        ];
        let expected = "\
NAME         SERVER   DESCRIPTION
echo         builtin  Says it again. …
files__read  builtin  Reads a file
";
        assert_eq!(tools("tools", "NAME", &list), expected);
        list[1].policy = pb::ToolPolicy::Ask.into();
        let expected = "\
NAME         SERVER   POLICY  DESCRIPTION
echo         builtin          Says it again. …
files__read  builtin  ask     Reads a file
";
        assert_eq!(tools("tools", "NAME", &list), expected);
        list[1].quarantine = Some(pb::ToolQuarantine {
            changed_fields: vec!["title".into(), "annotations".into()],
            ..Default::default()
        });
        let held = tools("tools", "NAME", &list[1..]);
        let row = "files__read  builtin  ask     HELD BACK, changed: title, annotations; Reads a file\n";
        assert!(held.ends_with(row), "{held}");
        assert_eq!(tools("tools", "NAME", &[]), "there are no tools\n");
    }
}
