//! `assistd resources`.

use std::io::{self, Write};

use clap::Args;
use tonic::transport::Channel;

use crate::api::pb;
use crate::api::pb::tool_content::Content;
use crate::config::Settings;

use super::call::output;
use super::client;
use super::error::Error;
use super::proto_json::ProtoJson;
use super::terminal::brief;
use super::tools::listing;

/// What `resources` takes.
#[derive(Debug, Args)]
pub struct ResourcesArguments {
    /// Read this one instead of listing them
    uri: Option<String>,

    /// Only those of this MCP server; needed to read one that is not listed
    #[arg(long, value_name = "NAME")]
    of: Option<String>,

    /// Print the response as JSON
    #[arg(long)]
    json: bool,
}

const DESCRIPTION_CHARS: usize = 80;

/// Prints the resources, or what one of them holds.
pub async fn run(settings: &Settings, arguments: ResourcesArguments) -> Result<(), Error> {
    let mut client = client::resources(client::channel(settings).await?);
    let text = match arguments.uri {
        Some(uri) => read(&mut client, uri, arguments.of, arguments.json).await?,
        None => {
            let list = list(&mut client, arguments.of).await?;
            if arguments.json {
                ProtoJson::of("ListResourcesResponse")?.line(&list)? + "\n"
            } else {
                let rows: Vec<[String; 3]> = list.resources.iter().map(cells).collect();
                listing("resources", ["URI", "SERVER", "DESCRIPTION"], &rows)
            }
        }
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

async fn list(
    client: &mut client::Resources<Channel>,
    of: Option<String>,
) -> Result<pb::ListResourcesResponse, Error> {
    let mut list = pb::ListResourcesResponse::default();
    loop {
        let request = pb::ListResourcesRequest {
            page_token: std::mem::take(&mut list.next_page_token),
            server: of.clone().unwrap_or_default(),
            ..Default::default()
        };
        let page = client.list_resources(request).await?.into_inner();
        list.resources.extend(page.resources);
        list.next_page_token = page.next_page_token;
        if list.next_page_token.is_empty() {
            return Ok(list);
        }
    }
}

async fn read(
    client: &mut client::Resources<Channel>,
    uri: String,
    of: Option<String>,
    as_json: bool,
) -> Result<String, Error> {
    let server = match of {
        Some(server) => server,
        None => {
            let listed = list(client, None).await?.resources;
            let owner = listed.into_iter().find(|resource| resource.uri == uri);
            owner.map(|resource| resource.server).ok_or_else(|| {
                Error::Usage(format!("no server lists {uri}: say with --of which one has it"))
            })?
        }
    };
    let request = pb::ReadResourceRequest { server, uri };
    let response = client.read_resource(request).await?.into_inner();
    if as_json {
        return Ok(ProtoJson::of("ReadResourceResponse")?.line(&response)? + "\n");
    }
    let contents: Vec<pb::ToolContent> = response
        .contents
        .into_iter()
        .map(|contents| pb::ToolContent {
            content: Some(Content::Resource(contents)),
        })
        .collect();
    Ok(output(&contents, None))
}

fn cells(resource: &pb::McpResource) -> [String; 3] {
    let about = [&resource.description, &resource.title, &resource.display_name];
    let about = about.into_iter().find(|text| !text.is_empty());
    [
        brief(&resource.uri, usize::MAX),
        brief(&resource.server, usize::MAX),
        brief(about.map_or("", |text| text), DESCRIPTION_CHARS),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_described_by_the_most_that_is_known() {
        let mut resource = pb::McpResource {
            server: "files".into(),
            uri: "file:///a".into(),
            display_name: "a".into(),
            ..Default::default()
        };
        assert_eq!(cells(&resource), ["file:///a", "files", "a"]);
        resource.description = "All of it.\nReally.".into();
        assert_eq!(cells(&resource)[2], "All of it. …");
    }
}
