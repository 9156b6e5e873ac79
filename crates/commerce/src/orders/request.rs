//! The requests of the order service.

use highwater_web::{
    fields::{Fields, line},
    http::Problem,
    identity::uuid,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use uuid::Uuid;

use super::{currency, event::OrderItem, price::Price};

/// The most items of an order.
pub const MOST_ITEMS: usize = 100;
/// The largest quantity of one item.
pub const MOST_OF_AN_ITEM: u32 = 1_000_000;
/// The longest name of an item, in characters: a hundred of them are kept for ever with each order.
pub(super) const LONGEST_SKU: usize = 64;

/// `POST /orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewOrder {
    /// The user who orders.
    pub user_id: Uuid,
    /// 1 to 100 items.
    #[schemars(length(min = 1, max = MOST_ITEMS))]
    pub items: Vec<OrderItem>,
    /// The currency of the prices: a code of ISO 4217, which bounds their decimal digits.
    #[schemars(schema_with = "currency_schema")]
    pub currency: String,
}

impl NewOrder {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// 400 with every fault.
    pub fn read(body: &[u8], max_depth: usize) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body, max_depth, &["userId", "items", "currency"])?;
        let user_id = fields.text("userId", uuid);
        let currency = fields.text("currency", code);
        let items = fields.objects("items", MOST_ITEMS, &["sku", "quantity", "unitPrice"], |fields| {
            item(fields, currency.as_deref())
        });
        let read = match (user_id, items, currency) {
            (Some(user_id), Some(items), Some(currency)) => Some(Self { user_id, items, currency }),
            _ => None,
        };
        fields.finish(read)
    }
}

fn item(fields: &mut Fields<'_>, currency: Option<&str>) -> Option<OrderItem> {
    let sku = fields.text("sku", line(LONGEST_SKU));
    let quantity = fields.whole("quantity", 1, MOST_OF_AN_ITEM.into());
    let unit_price = fields.text("unitPrice", |text| unit_price(text, currency));
    Some(OrderItem { sku: sku?, quantity: u32::try_from(quantity?).ok()?, unit_price: unit_price? })
}

/// A price in this currency, or in any if the currency is not known.
fn unit_price(text: &str, currency: Option<&str>) -> Result<Price, String> {
    let price: Price = text.parse()?;
    match currency.and_then(|code| Some((code, currency::decimals(code)?))) {
        Some((code, most)) if price.decimals() > most => {
            Err(format!("must have no more digits after the point than {code} has: {most}"))
        }
        _ => Ok(price),
    }
}

fn code(text: &str) -> Result<String, &'static str> {
    currency::decimals(text)
        .map(|_| text.to_owned())
        .ok_or("must be a currency of ISO 4217 in use, such as EUR")
}

fn currency_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": currency::codes().collect::<Vec<_>>() })
}
