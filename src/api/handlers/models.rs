//! The models that requests can name.

use std::sync::Arc;

use super::Handlers;
use crate::api::convert::page::{Question, place_of};
use crate::api::convert::{model, name};
use crate::api::pb;
use crate::run::error::{Error, Reason};
use crate::run::model::ModelCard;

impl Handlers {
    /// The models, a page of them, the default first.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `PAGE_TOKEN_INVALID`.
    pub fn list_models(&self, request: &pb::ListModelsRequest) -> Result<pb::ListModelsResponse, Error> {
        let cards = self.engine.ports().model.models();
        let (page, next_page_token) = Question::new(&["ListModels"]).of_memory(
            request.page_size,
            &request.page_token,
            cards.iter(),
            |card| place_of(&[&card.name]),
        )?;
        Ok(pb::ListModelsResponse {
            models: page.into_iter().map(|card| self.model(card)).collect(),
            next_page_token,
        })
    }

    /// One model, by its name or an alias.
    ///
    /// # Errors
    /// `VALIDATION_FAILED`, `MODEL_NOT_FOUND`.
    pub fn get_model(&self, request: &pb::GetModelRequest) -> Result<pb::Model, Error> {
        let asked = name::parse_model("name", &request.name)?;
        let card = self.engine.ports().model.card(asked);
        let missing = || {
            let refusal = self.engine.ports().model.refusal(asked);
            let why = refusal.unwrap_or_else(|| "no such model is listed".to_owned());
            Error::new(Reason::ModelNotFound, why).with("model", name::model(asked))
        };
        let card = card.ok_or_else(missing)?;
        Ok(self.model(&card))
    }

    fn model(&self, card: &Arc<ModelCard>) -> pb::Model {
        let condition = self.engine.ports().model.condition(&card.name);
        model::card_to_pb(card, condition)
    }

    /// Refuses a model that requests cannot name; an empty name is nobody's.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` naming the field.
    pub(super) fn check_model(&self, field: &str, name: &str) -> Result<(), Error> {
        let refusal = self.engine.ports().model.refusal(name);
        refusal.map_or(Ok(()), |why| Err(Error::invalid(field, why)))
    }
}
