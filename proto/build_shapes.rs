//! From the `.proto` files' limits to tables that requests are held against.

use protox::prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

/// Fields of one message that can be counted.
const MAX_FIELDS: usize = 64;

/// Limits of fields in messages that are not ours.
const FOREIGN: [(&str, Option<u32>, Option<u32>); 1] = [("google.protobuf.FieldMask.paths", Some(1028), Some(65536))];

/// Rust code with the shape of every message that is in a request, and for every method's request and answer whether
/// there is one.
pub(crate) fn shapes(pool: &DescriptorPool) -> Result<String, Box<dyn Error>> {
    let options = Options {
        max_items: extension(pool, "descry.limits.v1.max_items")?,
        max_bytes: extension(pool, "descry.limits.v1.max_bytes")?,
    };
    let mut reachable = BTreeMap::new();
    let mut shaped = BTreeMap::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        reach(method.input(), &mut reachable);
        shaped.insert(method.input().full_name().to_owned(), Some(identifier(&method.input())));
        shaped.entry(method.output().full_name().to_owned()).or_insert(None);
    }
    let mut code = "use ::descry_wire::{Field, Kind, Shape, Shaped};\n".to_owned();
    for message in reachable.values() {
        write_shape(&mut code, message, &options)?;
    }
    // What is in answers alone is looked at as well: it must not be forgotten there.
    for message in pool.all_messages().filter(|message| message.package_name().starts_with("descry.")) {
        message.fields().try_for_each(|field| limits(&field, &message, &options).map(drop))?;
    }
    for (name, shape) in shaped {
        let shape = shape.map_or("None".to_owned(), |shape| format!("Some(&{shape})"));
        let path = name.strip_prefix("descry.").ok_or("a request that is not ours")?.replace('.', "::");
        writeln!(code, "impl Shaped for crate::{path} {{ const SHAPE: Option<&'static Shape> = {shape}; }}")?;
    }
    Ok(code)
}

struct Options {
    max_items: ExtensionDescriptor,
    max_bytes: ExtensionDescriptor,
}

fn extension(pool: &DescriptorPool, name: &str) -> Result<ExtensionDescriptor, String> {
    pool.get_extension_by_name(name).ok_or_else(|| format!("{name} is not imported"))
}

fn reach(message: MessageDescriptor, reachable: &mut BTreeMap<String, MessageDescriptor>) {
    if reachable.insert(message.full_name().to_owned(), message.clone()).is_none() {
        message
            .fields()
            .filter_map(|field| field.kind().as_message().cloned())
            .for_each(|inner| reach(inner, reachable));
    }
}

fn identifier(message: &MessageDescriptor) -> String {
    message.full_name().replace('.', "_").to_uppercase()
}

fn write_shape(code: &mut String, message: &MessageDescriptor, options: &Options) -> Result<(), Box<dyn Error>> {
    if message.fields().len() > MAX_FIELDS {
        return Err(format!("{} has more than {MAX_FIELDS} fields", message.full_name()).into());
    }
    writeln!(code, "static {}: Shape = Shape {{ fields: &[", identifier(message))?;
    for field in message.fields() {
        let (max_items, max_bytes) = limits(&field, message, options)?;
        let (number, name, kind) = (field.number(), field.name(), kind(&field)?);
        writeln!(
            code,
            "Field {{ number: {number}, name: {name:?}, kind: {kind}, max_items: {max_items:?}, max_bytes: {max_bytes:?} }},"
        )?;
    }
    writeln!(code, "], nests: {} }};", nests(message))?;
    Ok(())
}

/// Whether a message may lie within another one of its kind.
fn nests(message: &MessageDescriptor) -> bool {
    let mut within = BTreeMap::new();
    message.fields().filter_map(|field| field.kind().as_message().cloned()).for_each(|inner| reach(inner, &mut within));
    within.contains_key(message.full_name())
}

fn kind(field: &FieldDescriptor) -> Result<String, String> {
    Ok(match field.kind() {
        Kind::Message(inner) => format!("Kind::Message(&{})", identifier(&inner)),
        Kind::Enum(values) => {
            let values: Vec<i32> = values.values().map(|value| value.number()).collect();
            format!("Kind::Enumeration(&{values:?})")
        }
        Kind::String => "Kind::Text".to_owned(),
        Kind::Bytes => "Kind::Bytes".to_owned(),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => "Kind::Fixed32".to_owned(),
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => "Kind::Fixed64".to_owned(),
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Sint32 | Kind::Sint64 | Kind::Bool => {
            "Kind::Varint".to_owned()
        }
    })
}

/// A field's limits.
///
/// # Errors
/// A list, text or file that has none, or a limit of what cannot have it.
fn limits(
    field: &FieldDescriptor,
    message: &MessageDescriptor,
    options: &Options,
) -> Result<(Option<u32>, Option<u32>), Box<dyn Error>> {
    // Keys and values of a map have the limit of the field that is one.
    if message.is_map_entry() {
        let parent = message.parent_message().ok_or("a map outside of a message")?;
        let map =
            parent.fields().find(|field| field.kind().as_message() == Some(message)).ok_or("a map of no field")?;
        let (_, max_bytes) = limits(&map, &parent, options)?;
        return Ok((None, max_bytes.filter(|_| has_bytes(&field.kind()))));
    }
    if let Some((_, max_items, max_bytes)) = FOREIGN.iter().find(|(name, ..)| *name == field.full_name()) {
        return Ok((*max_items, *max_bytes));
    }
    let given = field.options();
    let limit = |option| given.has_extension(option).then(|| given.get_extension(option).as_u32()).flatten();
    let (max_items, max_bytes) = (limit(&options.max_items), limit(&options.max_bytes));
    let map_of_texts = field.is_map() && {
        let kind = field.kind();
        kind.as_message().is_some_and(|entry| entry.fields().any(|field| has_bytes(&field.kind())))
    };
    let wanted = (field.is_list() || field.is_map(), has_bytes(&field.kind()) || map_of_texts);
    if wanted != (max_items.is_some(), max_bytes.is_some()) {
        let name = field.full_name();
        return Err(
            format!("{name}: a list needs max_items, a text or file max_bytes, and nothing else has them").into()
        );
    }
    Ok((max_items, max_bytes))
}

fn has_bytes(kind: &Kind) -> bool {
    matches!(kind, Kind::String | Kind::Bytes)
}
