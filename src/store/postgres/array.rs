//! A column of a batch as one parameter: an array in PostgreSQL's binary format, built from its elements one by one.

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// An array of one dimension without nulls.
#[derive(Debug)]
pub(super) struct Array {
    element: Type,
    length: i32,
    elements: BytesMut,
}

impl Array {
    /// An empty array, with room for this number of elements of about this number of bytes.
    pub(super) fn of(element: Type, length: usize, bytes: usize) -> Self {
        Self { element, length: 0, elements: BytesMut::with_capacity(length * (4 + bytes)) }
    }

    /// Appends an element in the type's binary format.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.length += 1;
        // No element is as long as 2 GiB, since no record is.
        self.elements.put_i32(bytes.len() as i32);
        self.elements.put_slice(bytes);
    }
}

impl ToSql for Array {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        const FIRST_INDEX: i32 = 1;
        const WITHOUT_NULLS: i32 = 0;

        out.reserve(20 + self.elements.len());
        out.put_i32(i32::from(self.length > 0));
        out.put_i32(WITHOUT_NULLS);
        out.put_u32(self.element.oid());
        if self.length > 0 {
            out.put_i32(self.length);
            out.put_i32(FIRST_INDEX);
            out.put_slice(&self.elements);
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
