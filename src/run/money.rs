//! What models cost: integers alone, so that nothing drifts.
//!
//! A turn's cost is rounded once, to the nearest micro-unit of the currency with halves up. Everything larger is the
//! sum of its turns, so that what is shown adds up: steps to runs, and runs to threads.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::message::Usage;

/// Tokens that a price is for.
const TOKENS_OF_A_PRICE: u128 = 1_000_000;

/// A currency by its code in ISO 4217, such as `USD`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// The text is no currency code.
#[derive(Debug, thiserror::Error)]
#[error("a currency is three capital letters")]
pub struct NoCurrency;

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The currency.
    pub currency: Currency,
    /// Millionths of its unit.
    pub micros: u64,
}

/// What a model costs, in millionths of a currency's unit for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices {
    /// The currency.
    pub currency: Currency,
    /// Of tokens read.
    pub input: u64,
    /// Of tokens read that the provider had cached.
    pub cached_input: u64,
    /// Of tokens written.
    pub output: u64,
    /// Of tokens written that were reasoning; none for the price of the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
}

impl Prices {
    /// What these tokens of one turn cost.
    pub fn cost(&self, usage: &Usage) -> Cost {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let reasoning = usage.reasoning_tokens.min(usage.output_tokens);
        let parts = [
            (usage.input_tokens - cached, self.input),
            (cached, self.cached_input),
            (usage.output_tokens - reasoning, self.output),
            (reasoning, self.reasoning.unwrap_or(self.output)),
        ];
        let exact: u128 = parts
            .iter()
            .map(|&(tokens, price)| u128::from(tokens) * u128::from(price))
            .fold(0, u128::saturating_add);
        let micros = exact.saturating_add(TOKENS_OF_A_PRICE / 2) / TOKENS_OF_A_PRICE;
        Cost {
            currency: self.currency,
            micros: u64::try_from(micros).unwrap_or(u64::MAX),
        }
    }
}

impl Cost {
    /// Both together. There is no sum over two currencies: the newer one counts, and what was spent in the other is
    /// not in it.
    #[must_use]
    pub fn plus(self, newer: Cost) -> Cost {
        match self.currency == newer.currency {
            true => Cost {
                micros: self.micros.saturating_add(newer.micros),
                ..newer
            },
            false => newer,
        }
    }
}

impl Currency {
    /// Its code.
    pub fn code(&self) -> &str {
        // Capital letters are text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = NoCurrency;

    fn from_str(text: &str) -> Result<Self, NoCurrency> {
        let letters: [u8; 3] = text.as_bytes().try_into().map_err(|_| NoCurrency)?;
        match letters.iter().all(u8::is_ascii_uppercase) {
            true => Ok(Self(letters)),
            false => Err(NoCurrency),
        }
    }
}

impl TryFrom<String> for Currency {
    type Error = NoCurrency;

    fn try_from(text: String) -> Result<Self, NoCurrency> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    fn prices(input: u64, cached_input: u64, output: u64) -> Prices {
        Prices {
            currency: "USD".parse().unwrap(),
            input,
            cached_input,
            output,
            reasoning: None,
        }
    }

    fn used(input_tokens: u64, cached_tokens: u64, output_tokens: u64) -> Usage {
        Usage {
            input_tokens,
            cached_tokens,
            output_tokens,
            ..Usage::default()
        }
    }

    #[test]
    fn a_turn_is_rounded_once_with_halves_up() {
        for (prices, used, micros) in [
            (prices(250_000, 25_000, 2_000_000), used(0, 0, 0), 0),
            (prices(250_000, 25_000, 2_000_000), used(1_000_000, 0, 0), 250_000),
            (
                prices(250_000, 25_000, 2_000_000),
                used(1_000_000, 400_000, 0),
                160_000,
            ),
            (prices(250_000, 25_000, 2_000_000), used(1, 0, 1), 2),
            (prices(250_000, 25_000, 2_000_000), used(2, 0, 0), 1),
            (prices(250_000, 25_000, 2_000_000), used(1, 0, 0), 0),
            // A provider that counts more as cached than as read.
            (prices(250_000, 25_000, 2_000_000), used(10, 1_000_000, 0), 0),
            (
                prices(u64::MAX, 0, u64::MAX),
                used(u64::MAX, 0, u64::MAX),
                u64::MAX,
            ),
        ] {
            assert_eq!(prices.cost(&used).micros, micros, "{prices:?} {used:?}");
        }
    }

    #[test]
    fn reasoning_costs_what_it_costs_or_what_the_rest_of_the_answer_does() {
        let used = Usage {
            reasoning_tokens: 30,
            ..used(0, 0, 100)
        };
        let alike = prices(0, 0, 1_000_000);
        let apart = Prices {
            reasoning: Some(3_000_000),
            ..alike
        };
        assert_eq!((alike.cost(&used).micros, apart.cost(&used).micros), (100, 160));
        // A provider that counts more as reasoning than as written.
        let more = Usage {
            reasoning_tokens: u64::MAX,
            ..used
        };
        assert_eq!(apart.cost(&more).micros, 300);
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        for wrong in ["", "US", "usd", "USDT", "U D", "ÄÖ"] {
            assert!(wrong.parse::<Currency>().is_err(), "{wrong}");
        }
        let stored = serde_json::to_value(prices(1, 2, 3)).unwrap();
        assert_eq!(stored["currency"], "USD");
        assert_eq!(serde_json::from_value::<Prices>(stored).unwrap(), prices(1, 2, 3));
    }

    #[test]
    fn a_sum_is_in_one_currency() {
        let cost = |code: &str, micros| Cost {
            currency: code.parse().unwrap(),
            micros,
        };
        assert_eq!(cost("USD", 1).plus(cost("USD", 2)), cost("USD", 3));
        assert_eq!(cost("USD", 1).plus(cost("EUR", 2)), cost("EUR", 2));
        assert_eq!(cost("USD", 1).plus(cost("USD", u64::MAX)), cost("USD", u64::MAX));
    }

    proptest! {
        #[test]
        fn a_cost_is_within_half_a_micro_of_the_truth(input in 0..10_000_000_u64, output in 0..10_000_000_u64,
                                                      price in 0..100_000_000_u64) {
            let cost = u128::from(prices(price, price, price).cost(&used(input, input / 3, output)).micros);
            let exact = u128::from(input + output) * u128::from(price);
            prop_assert!((cost * 1_000_000).abs_diff(exact) <= 500_000);
        }
    }
}
