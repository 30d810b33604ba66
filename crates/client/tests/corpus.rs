//! Runs the kept corpus of the fuzz targets. Each input takes a path of its own through a reader,
//! or once made a reader fail.

#[path = "common/readers.rs"]
mod readers;

use std::fs;
use std::path::Path;

use readers::READERS;

/// The fewest files that a folder of the corpus has.
const FEWEST: usize = 10;

#[test]
fn the_kept_corpus_is_answered() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, read) in READERS {
        let mut count = 0;
        for file in fs::read_dir(corpus.join(name))? {
            let file = file?.path();
            // The name of a failed file is enough to repeat the failure.
            println!("{}", file.display());
            read(&fs::read(&file)?);
            count += 1;
        }
        assert!(count >= FEWEST, "{count} files of {name}");
    }
    Ok(())
}
