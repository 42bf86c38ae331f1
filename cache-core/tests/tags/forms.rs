//! Tags in each stored form.

use std::sync::Arc;

use cache_core::{Cache, Codec, Compression, Timeout, store::Inline, testing::Model};

#[test]
fn every_codec_compression_and_form_may_have_tags() {
    for codec in [Codec::Json, Codec::MsgPack, Codec::Postcard] {
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            let store = Arc::new(Inline::new(Model::default()));
            let builder = Cache::builder(store).codec(codec).compression(compression);
            let cache = builder.tags(true).build("test").unwrap().strict().blocking();
            let (text, bytes) = ("a".repeat(5000), b"\xc1\xca123".to_vec());
            let tagged = cache.with_tags(["t"]);
            tagged.set("text", &text, Timeout::Never).unwrap();
            tagged.bytes().set("bytes", &bytes, Timeout::Never).unwrap();
            assert_eq!(cache.get::<String>("text").unwrap(), Some(text));
            assert_eq!(cache.bytes().get("bytes").unwrap().unwrap(), bytes);
            cache.invalidate_tags(["t"]).unwrap();
            assert_eq!(cache.get::<String>("text").unwrap(), None);
            assert_eq!(cache.bytes().get("bytes").unwrap(), None);
            tagged.set("text", &1, Timeout::Never).unwrap();
            cache.expire_tags(["t"]).unwrap();
            assert_eq!(cache.get::<u32>("text").unwrap(), None);
        }
    }
}
