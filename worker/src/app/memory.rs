//! Lets the allocator keep the memory of large messages.

/// The size of the largest block whose memory the allocator keeps when it is freed: twice the size
/// of a claim in bytes. The C library gives back free memory beyond twice this size.
const KEPT: usize = 8 << 20;

/// Raises the limits from which glibc gives freed memory back to the system.
///
/// A large message is several blocks, each of which lives for a moment. With the limits at the start
/// (128 KiB), the system takes and clears their pages again and again: for messages of 64 KiB, that
/// is two fifths of the worker's processor time. glibc raises its limits to the size of the largest
/// block that it has seen freed, up to 32 MiB. This block takes no memory, because nothing is
/// written to it. Other C libraries and allocators do nothing of the kind, and it does not disturb
/// them. `MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` in the environment take precedence.
pub(super) fn keep_freed_blocks() {
    let block = Vec::<u8>::with_capacity(KEPT);
    // Otherwise the compiler leaves out both the block and its end.
    drop(std::hint::black_box(block));
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Returns how many pages the system has given this thread.
    fn faults() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        // The state, seven other numbers, and then the faults that need no disk.
        fields.split_whitespace().nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn freed_blocks_are_used_again() {
        keep_freed_blocks();
        for size in [200 << 10, 1 << 20, 4 << 20] {
            let fill = || drop(std::hint::black_box(vec![1_u8; size]));
            fill();
            let before = faults();
            for _ in 0..50 {
                fill();
            }
            let pages = (size / 4_096) as u64;
            let taken = faults() - before;
            assert!(
                taken < 5 * pages,
                "{taken} faults for 50 times {pages} pages"
            );
        }
    }
}
