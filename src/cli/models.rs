//! `assistd models`.

use std::io::{self, Write};

use clap::Args;

use crate::api::pb;
use crate::config::Settings;

use super::client;
use super::error::Error;
use super::proto_json::ProtoJson;
use super::terminal::brief;
use super::tools::table;

/// What `models` takes.
#[derive(Debug, Args)]
pub struct ModelsArguments {
    /// Print the response as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the models, the default first.
pub async fn run(settings: &Settings, arguments: &ModelsArguments) -> Result<(), Error> {
    let mut client = client::models(client::channel(settings).await?);
    let mut list = pb::ListModelsResponse::default();
    loop {
        let request = pb::ListModelsRequest {
            page_token: std::mem::take(&mut list.next_page_token),
            ..Default::default()
        };
        let page = client.list_models(request).await?.into_inner();
        list.models.extend(page.models);
        list.next_page_token = page.next_page_token;
        if list.next_page_token.is_empty() {
            break;
        }
    }
    let text = if arguments.json {
        ProtoJson::of("ListModelsResponse")?.line(&list)? + "\n"
    } else {
        let rows: Vec<[String; 4]> = list.models.iter().map(cells).collect();
        table(["NAME", "AT", "PRICE OF A MILLION TOKENS", "STATE"], &rows)
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// The default has a star; aliases are in brackets.
fn cells(model: &pb::Model) -> [String; 4] {
    let name = model.name.strip_prefix("models/").unwrap_or(&model.name);
    let star = if model.is_default { " *" } else { "" };
    let aliases = match model.aliases.as_slice() {
        [] => String::new(),
        aliases => format!(" ({})", aliases.join(", ")),
    };
    let state = match model.state() {
        pb::ModelState::Available => "available".to_owned(),
        pb::ModelState::LeftAlone => format!("left alone: {}", model.message),
        _ => model.message.clone(),
    };
    [
        brief(&format!("{name}{star}{aliases}"), usize::MAX),
        brief(
            &format!("{} at {}", model.provider_model, model.endpoint),
            usize::MAX,
        ),
        model.prices.as_ref().map(price).unwrap_or_default(),
        brief(&state, usize::MAX),
    ]
}

/// What is read, then what is written; what is cached or reasoning where that costs something else.
fn price(prices: &pb::ModelPrices) -> String {
    let other = |micros: i64, usual: i64, what: &str| match micros == usual {
        true => String::new(),
        false => format!(" ({what} {})", amount(micros)),
    };
    format!(
        "{} in{}, {} out{} {}",
        amount(prices.input_micros),
        other(prices.cached_input_micros, prices.input_micros, "cached"),
        amount(prices.output_micros),
        other(prices.reasoning_micros, prices.output_micros, "reasoning"),
        prices.currency_code,
    )
}

/// Millionths as people write them: `0.25`.
pub(super) fn amount(micros: i64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_shows_its_names_its_place_and_how_it_is() {
        let model = pb::Model {
            name: "models/big".into(),
            provider_model: "big-1".into(),
            endpoint: "http://one".into(),
            aliases: vec!["b".into(), "large".into()],
            is_default: true,
            state: pb::ModelState::LeftAlone.into(),
            message: "it fails".into(),
            prices: Some(pb::ModelPrices {
                currency_code: "USD".into(),
                input_micros: 250_000,
                cached_input_micros: 25_000,
                output_micros: 2_000_000,
                reasoning_micros: 2_000_000,
            }),
            ..Default::default()
        };
        assert_eq!(
            cells(&model),
            [
                "big * (b, large)",
                "big-1 at http://one",
                "0.25 in (cached 0.025), 2 out USD",
                "left alone: it fails"
            ]
        );
    }
}
