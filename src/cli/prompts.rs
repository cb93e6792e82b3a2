//! `assistd prompts`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use tonic::transport::Channel;

use crate::api::pb;
use crate::config::Settings;

use super::call::output;
use super::client;
use super::error::Error;
use super::proto_json::ProtoJson;
use super::terminal::brief;
use super::tools::listing;

/// What `prompts` takes.
#[derive(Debug, Args)]
pub struct PromptsArguments {
    /// Get this one instead of listing them
    name: Option<String>,

    /// Its arguments
    #[arg(value_name = "KEY=VALUE", requires = "name")]
    arguments: Vec<String>,

    /// Only those of this MCP server
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    of: Option<String>,

    /// Print the response as JSON
    #[arg(long)]
    json: bool,
}

const DESCRIPTION_CHARS: usize = 80;

/// Prints the prompts, or the messages of one of them.
pub async fn run(settings: &Settings, arguments: PromptsArguments) -> Result<(), Error> {
    let given = pairs(&arguments.arguments)?;
    let mut client = client::prompts(client::channel(settings).await?);
    let text = match arguments.name {
        Some(name) => get(&mut client, &name, given, arguments.json).await?,
        None => {
            let list = list(&mut client, arguments.of).await?;
            if arguments.json {
                ProtoJson::of("ListPromptsResponse")?.line(&list)? + "\n"
            } else {
                let rows: Vec<[String; 3]> = list.prompts.iter().map(cells).collect();
                listing("prompts", ["NAME", "ARGUMENTS", "DESCRIPTION"], &rows)
            }
        }
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

async fn list(
    client: &mut client::Prompts<Channel>,
    of: Option<String>,
) -> Result<pb::ListPromptsResponse, Error> {
    let mut list = pb::ListPromptsResponse::default();
    loop {
        let request = pb::ListPromptsRequest {
            page_token: std::mem::take(&mut list.next_page_token),
            server: of.clone().unwrap_or_default(),
            ..Default::default()
        };
        let page = client.list_prompts(request).await?.into_inner();
        list.prompts.extend(page.prompts);
        list.next_page_token = page.next_page_token;
        if list.next_page_token.is_empty() {
            return Ok(list);
        }
    }
}

async fn get(
    client: &mut client::Prompts<Channel>,
    name: &str,
    arguments: BTreeMap<String, String>,
    as_json: bool,
) -> Result<String, Error> {
    let bare = name.strip_prefix("prompts/").unwrap_or(name);
    let request = pb::GetPromptRequest {
        name: format!("prompts/{bare}"),
        arguments,
    };
    let response = client.get_prompt(request).await?.into_inner();
    if as_json {
        return Ok(ProtoJson::of("GetPromptResponse")?.line(&response)? + "\n");
    }
    let messages = response.messages.into_iter().map(|message| {
        let who = match message.role() {
            pb::Role::Assistant => "assistant",
            _ => "user",
        };
        let content: Vec<pb::ToolContent> = message.content.into_iter().collect();
        format!("{who}: {}", output(&content, None))
    });
    Ok(messages.collect())
}

/// Reads `KEY=VALUE` arguments; a value may hold anything.
fn pairs(arguments: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let pair = |argument: &String| match argument.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::Usage(format!("{argument:?} is not of the form KEY=VALUE"))),
    };
    arguments.iter().map(pair).collect()
}

/// Arguments that may be left out are in brackets.
fn cells(prompt: &pb::Prompt) -> [String; 3] {
    let arguments = prompt.arguments.iter().map(|argument| match argument.required {
        true => argument.key.clone(),
        false => format!("[{}]", argument.key),
    });
    let description = match prompt.description.as_str() {
        "" => &prompt.title,
        description => description,
    };
    [
        brief(
            prompt.name.strip_prefix("prompts/").unwrap_or(&prompt.name),
            usize::MAX,
        ),
        brief(&arguments.collect::<Vec<_>>().join(" "), usize::MAX),
        brief(description, DESCRIPTION_CHARS),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_keys_and_values() {
        let read = |text: &str| pairs(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let expected = [("a", "b=c"), ("d", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(read("a=b=c d=").unwrap(), BTreeMap::from(expected));
        for bad in ["a", "=b", "a=b c"] {
            assert!(matches!(read(bad), Err(Error::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn a_prompt_shows_which_arguments_it_needs() {
        let argument = |key: &str, required| pb::PromptArgument {
            key: key.into(),
            required,
            ..Default::default()
        };
        let prompt = pb::Prompt {
            name: "prompts/a__b".into(),
            title: "B".into(),
            arguments: vec![argument("city", true), argument("state", false)],
            ..Default::default()
        };
        assert_eq!(cells(&prompt), ["a__b", "city [state]", "B"]);
    }
}
