//! What clients ask of the order service.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{event::Item, price::Price};
use crate::{
    http::Problem,
    services::{
        fields::{Fields, line},
        identity::uuid,
    },
};

/// The most items of an order.
pub const MOST_ITEMS: usize = 100;
/// The most of one item.
pub const MOST_OF_AN_ITEM: u32 = 1_000_000;
/// The longest name of an item, in characters: a hundred of them are kept for ever with each order.
pub(super) const LONGEST_SKU: usize = 64;

/// What a currency is, as a regular expression.
const CURRENCY: &str = "^[A-Z]{3}$";

/// `POST /orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewOrder {
    /// Who orders.
    pub user_id: Uuid,
    /// What: 1 to 100 items.
    #[schemars(length(min = 1, max = MOST_ITEMS))]
    pub items: Vec<Item>,
    /// In which the prices are: three letters of ISO 4217.
    #[schemars(regex(pattern = CURRENCY))]
    pub currency: String,
}

impl NewOrder {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// 400 with every fault.
    pub fn read(body: &[u8], max_depth: usize) -> Result<Self, Problem> {
        let mut fields = Fields::of(body, max_depth)?;
        let user_id = fields.text("userId", uuid);
        let items = fields.objects("items", MOST_ITEMS, item);
        let currency = fields.text("currency", currency);
        let read = match (user_id, items, currency) {
            (Some(user_id), Some(items), Some(currency)) => Some(Self { user_id, items, currency }),
            _ => None,
        };
        fields.finish(read)
    }
}

fn item(fields: &mut Fields<'_>) -> Option<Item> {
    let sku = fields.text("sku", line(LONGEST_SKU));
    let quantity = fields.whole("quantity", 1, MOST_OF_AN_ITEM.into());
    let unit_price = fields.text("unitPrice", str::parse::<Price>);
    Some(Item { sku: sku?, quantity: u32::try_from(quantity?).ok()?, unit_price: unit_price? })
}

fn currency(text: &str) -> Result<String, &'static str> {
    let is_code = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_code { Ok(text.to_owned()) } else { Err("must be a currency of ISO 4217, such as EUR") }
}
