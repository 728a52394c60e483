//! What a message may hold, as its `.proto` file says.

/// A message that comes over the wire.
pub trait Shaped {
    /// What it may hold; nothing where that is not looked at, as of answers, which come from a service that was chosen.
    const SHAPE: Option<&'static Shape>;
}

/// A message's fields.
#[derive(Debug)]
pub struct Shape {
    /// At most 64 of them.
    pub fields: &'static [Field],
    /// Whether one of these may lie within another one, however deep.
    pub nests: bool,
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// Its name in the `.proto` file.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Most items, where it is a list or a map.
    pub max_items: Option<u32>,
    /// Most bytes of one item, where these are texts or bytes.
    pub max_bytes: Option<u32>,
}

/// What a field holds.
#[derive(Debug)]
pub enum Kind {
    /// Another message.
    Message(&'static Shape),
    /// One of these values.
    Enumeration(&'static [i32]),
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// A number or a truth value in as many bytes as it needs.
    Varint,
    /// A number of four bytes.
    Fixed32,
    /// A number of eight bytes.
    Fixed64,
}

impl Shape {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}
