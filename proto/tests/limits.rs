//! Every list, text and file of every message has a limit, and what is beyond it is refused without being decoded.

// Without this, lints count helpers of an integration test as shipped code.
#![cfg(test)]

use descry_proto::{encoder, search};
use descry_wire::{Field, Kind, Shape, Shaped, check};
use prost::Message as _;
use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what a thread allocates, and so a test.
struct Counting;

thread_local! {
    static ALLOCATED_BYTES: Cell<usize> = const { Cell::new(0) };
}

fn allocated_bytes() -> usize {
    ALLOCATED_BYTES.get()
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its nature; this one only counts")]
// SAFETY: all of the work is the system's allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED_BYTES.set(ALLOCATED_BYTES.get().wrapping_add(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn shape<Message: Shaped>() -> &'static Shape {
    Message::SHAPE.unwrap()
}

/// A field's key and a length, as the encoding of protocol buffers has them.
fn delimited(number: u32, content: &[u8], bytes: &mut Vec<u8>) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, bytes);
    prost::encoding::encode_varint(content.len() as u64, bytes);
    bytes.extend(content);
}

/// Requests that go wrong in one list or text each, somewhere within `shape`.
fn hostile(shape: &'static Shape, depth: usize, wrap: &dyn Fn(Vec<u8>) -> Vec<u8>, found: &mut Vec<(String, Vec<u8>)>) {
    for field in shape.fields {
        let Field { number, name, kind, max_items, max_bytes } = field;
        if let Some(max) = max_items {
            let item: &[u8] = match kind {
                Kind::Fixed32 => &[0; 4],
                Kind::Fixed64 => &[0; 8],
                Kind::Message(_) | Kind::Enumeration(_) | Kind::Text | Kind::Bytes | Kind::Varint => &[],
            };
            let mut list = Vec::new();
            (0..=*max).for_each(|_| delimited(*number, item, &mut list));
            found.push((format!("{name}: more than {max} items"), wrap(list)));
        }
        if let Some(max) = max_bytes
            && !matches!(kind, Kind::Message(_))
        {
            let mut text = Vec::new();
            delimited(*number, &vec![b'a'; *max as usize + 1], &mut text);
            found.push((format!("are over the limit of {max} bytes"), wrap(text)));
        }
        if let (Kind::Message(inner), Some(left)) = (kind, depth.checked_sub(1)) {
            let within = |content: Vec<u8>| {
                let mut outer = Vec::new();
                delimited(*number, &content, &mut outer);
                wrap(outer)
            };
            hostile(inner, left, &within, found);
        }
    }
}

#[test]
fn requests_beyond_their_limits_take_no_memory() {
    let shapes = [
        shape::<search::v1::SearchRequest>(),
        shape::<search::v1::SearchBatchRequest>(),
        shape::<search::v1::RefineRequest>(),
        shape::<search::v1::DeleteImagesRequest>(),
        shape::<search::v1::EraseImagesRequest>(),
        shape::<search::v1::UpdateImagesRequest>(),
        shape::<search::v1::IndexEmbeddingsRequest>(),
        shape::<search::v1::IndexImagesRequest>(),
        shape::<search::v1::SetRetentionRequest>(),
        shape::<search::v1::CreateGalleryRequest>(),
        shape::<search::v1::CreateWatchRequest>(),
        shape::<search::v1::CalibrateRequest>(),
        shape::<encoder::v1::EncodeTextRequest>(),
        shape::<encoder::v1::EncodeImageRequest>(),
    ];
    let mut tried = 0;
    for shape in shapes {
        let mut requests = Vec::new();
        hostile(shape, 2, &|bytes| bytes, &mut requests);
        assert!(!requests.is_empty());
        for (expected, bytes) in requests {
            let before = allocated_bytes();
            let refused = check(shape, &bytes).unwrap_err();
            let taken = allocated_bytes() - before;
            assert!(refused.to_string().contains(&expected), "{refused}, expected {expected}");
            assert!(taken < 4096, "{taken} bytes for {refused}");
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
    // Fifteen million conditions without content, which were four gigabytes when they were decoded.
    let filter: Vec<u8> = [9 << 3 | 2, 0].repeat(15_000_000);
    let mut request = Vec::new();
    delimited(5, &filter, &mut request);
    let refused = check(shape::<search::v1::SearchRequest>(), &request).unwrap_err().to_string();
    assert_eq!(refused, "filter.all: more than 1024 items");
}

fn fields(message: MessageDescriptor, found: &mut Vec<FieldDescriptor>) {
    if !message.is_map_entry() {
        found.extend(message.fields());
    }
    message.child_messages().for_each(|nested| fields(nested, found));
}

#[test]
fn every_list_and_every_text_has_a_limit() {
    let pool = DescriptorPool::decode(descry_proto::DESCRIPTOR_SET).unwrap();
    let max_items = pool.get_extension_by_name("descry.limits.v1.max_items").unwrap();
    let max_bytes = pool.get_extension_by_name("descry.limits.v1.max_bytes").unwrap();
    let mut found = Vec::new();
    for message in pool.all_messages().filter(|message| message.package_name().starts_with("descry.")) {
        if message.parent_message().is_none() {
            fields(message, &mut found);
        }
    }
    assert!(found.len() > 150, "{}", found.len());
    for field in found {
        let options = field.options();
        let limited = |option| options.has_extension(option) && options.get_extension(option).as_u32() > Some(0);
        let is_text =
            |field: &FieldDescriptor| matches!(field.kind(), prost_reflect::Kind::String | prost_reflect::Kind::Bytes);
        let holds_text = is_text(&field)
            || (field.is_map() && field.kind().as_message().unwrap().fields().any(|entry| is_text(&entry)));
        assert_eq!(limited(&max_items), field.is_list() || field.is_map(), "{}", field.full_name());
        assert_eq!(limited(&max_bytes), holds_text, "{}", field.full_name());
    }
}

/// The filter that takes most memory for its bytes: each within the last one, three lists of one.
#[test]
fn what_passes_takes_no_more_than_some_megabytes() {
    // From the innermost outwards; more would be refused.
    let mut filters = vec![Vec::new()];
    while filters.len() < 4_000 {
        let nested = filters.len().div_ceil(3).min(30);
        let inner = filters.len() - nested;
        let mut filter = Vec::new();
        for (number, inner) in [9, 10, 11].into_iter().zip(&filters[inner..]) {
            if inner.len() < 10_000 {
                delimited(number, inner, &mut filter);
            }
        }
        filters.push(filter);
    }
    let mut tried = 0;
    for filter in &filters {
        let mut request = Vec::new();
        delimited(5, filter, &mut request);
        if check(shape::<search::v1::SearchRequest>(), &request).is_ok() {
            let before = allocated_bytes();
            search::v1::SearchRequest::decode(request.as_slice()).unwrap();
            let taken = allocated_bytes() - before;
            assert!(taken < 16 << 20, "{taken} bytes for a request of {}", request.len());
            tried += 1;
        }
    }
    assert!(tried > 10, "{tried}");
    let wide = [9 << 3 | 2, 0].repeat(1_024);
    let mut request = Vec::new();
    delimited(5, &wide, &mut request);
    let before = allocated_bytes();
    search::v1::SearchRequest::decode(request.as_slice()).unwrap();
    assert!(allocated_bytes() - before < 2 << 20, "{}", allocated_bytes() - before);
}
