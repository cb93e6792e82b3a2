//! `assistd tools`.

use std::io::{self, Write};

use clap::Args;

use crate::api::pb;
use crate::config::Settings;

use super::client;
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
}

const DESCRIPTION_CHARS: usize = 80;

/// Prints the tools.
pub async fn run(settings: &Settings, arguments: &ToolsArguments) -> Result<(), Error> {
    let mut client = client::connect(settings).await?;
    let mut list = pb::ListToolsResponse::default();
    loop {
        let request = pb::ListToolsRequest {
            page_token: std::mem::take(&mut list.next_page_token),
            server: arguments.of.clone().unwrap_or_default(),
            ..Default::default()
        };
        let page = client.list_tools(request).await?.into_inner();
        list.tools.extend(page.tools);
        list.catalogue_version = page.catalogue_version;
        list.next_page_token = page.next_page_token;
        if list.next_page_token.is_empty() {
            break;
        }
    }
    let text = if arguments.json {
        ProtoJson::of("ListToolsResponse")?.line(&list)? + "\n"
    } else {
        let cells: Vec<[String; 3]> = list.tools.iter().map(cells).collect();
        listing("tools", ["NAME", "SERVER", "DESCRIPTION"], &cells)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn cells(tool: &pb::Tool) -> [String; 3] {
    let name = tool.name.strip_prefix("tools/").unwrap_or(&tool.name);
    let description = match tool.description.as_str() {
        "" => &tool.title,
        description => description,
    };
    [
        brief(name, usize::MAX),
        brief(&tool.server, usize::MAX),
        brief(description, DESCRIPTION_CHARS),
    ]
}

/// A table of these things, or that there are none.
pub fn listing(what: &str, head: [&str; 3], rows: &[[String; 3]]) -> String {
    match rows {
        [] => format!("there are no {what}\n"),
        rows => table(head, rows),
    }
}

/// Columns of equal width, but for the last.
pub fn table(head: [&str; 3], rows: &[[String; 3]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or_default()
    };
    let (first, second) = (width(0), width(1));
    let head = head.map(str::to_owned);
    std::iter::once(&head)
        .chain(rows)
        .map(|[one, two, three]| {
            format!("{one:first$}  {two:second$}  {three}")
                .trim_end()
                .to_owned()
                + "\n"
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_shown_by_their_bare_names_in_columns() {
        let tool = |name: &str, title: &str, description: &str| pb::Tool {
            name: name.into(),
            title: title.into(),
            description: description.into(),
            server: "builtin".into(),
            ..Default::default()
        };
        let rows: Vec<_> = [
            tool("tools/echo", "", "Says it again.\nTwice."),
            tool("tools/files__read", "Reads a file", ""),
        ]
        .iter()
        .map(cells)
        .collect();
        let expected = "\
NAME         SERVER   DESCRIPTION
echo         builtin  Says it again. …
files__read  builtin  Reads a file
";
        let head = ["NAME", "SERVER", "DESCRIPTION"];
        assert_eq!(listing("tools", head, &rows), expected);
        assert_eq!(listing("tools", head, &[]), "there are no tools\n");
    }
}
