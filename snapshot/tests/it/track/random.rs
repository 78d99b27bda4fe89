//! Random steps, the same for the same seed.

use super::writer::Operation;

/// SplitMix64: a generator of one number, small enough to be read.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("below a usize")
    }

    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }
}

/// What an operation takes.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// A path where there is or may be a file.
    File,
    /// A path where there is or may be a directory.
    Directory,
    /// Any path.
    Any,
    /// A name in the directory that is not tracked.
    Outside,
    /// The name of a descriptor that is kept open.
    Key,
}

use Argument::{Any, Directory, File, Key, Outside};

/// All operations: their arguments, and how often they come.
pub const OPERATIONS: &[(&str, &[Argument], usize)] = &[
    ("write", &[File], 12),
    ("overwrite", &[File], 4),
    ("append", &[File], 3),
    ("open_truncate", &[File], 1),
    ("shrink", &[File], 1),
    ("grow", &[File], 1),
    ("truncate_by_path", &[File], 2),
    ("allocate", &[File], 1),
    ("punch", &[File], 1),
    ("copy_range", &[File], 1),
    ("send_file", &[File], 1),
    ("splice", &[File], 1),
    ("clone", &[File], 1),
    ("map_write", &[File], 1),
    ("map_write_after_close", &[File], 2),
    ("map_read_then_write", &[File], 2),
    ("map_write_twice", &[File], 1),
    ("map_write_and_exit", &[File], 1),
    ("map_write_and_be_killed", &[File], 1),
    ("write_and_be_killed", &[File], 1),
    ("overwrite_keeping_mtime", &[File], 4),
    ("append_keeping_mtime", &[File], 1),
    ("map_write_keeping_mtime", &[File], 1),
    ("truncate_by_path_keeping_mtime", &[File], 1),
    ("copy_range_keeping_mtime", &[File], 1),
    ("clone_keeping_mtime", &[File], 1),
    ("uring_write_keeping_mtime", &[File], 1),
    ("chmod_keeping_mtime", &[Any], 1),
    ("set_xattr_keeping_mtime", &[Any], 1),
    ("chmod", &[Any], 3),
    ("chown", &[Any], 3),
    ("touch", &[Any], 2),
    ("set_times", &[Any], 2),
    ("set_xattr", &[Any], 3),
    ("remove_xattr", &[Any], 1),
    ("set_acl", &[Any], 1),
    ("set_capability", &[File], 2),
    ("set_flags", &[File], 1),
    ("open_only", &[File], 2),
    ("read_only", &[File], 2),
    ("make", &[Any], 4),
    ("mkdir", &[Directory], 6),
    ("mkdirs", &[Directory], 3),
    ("mkfifo", &[Any], 1),
    ("mknod", &[Any], 1),
    ("symlink", &[Any], 3),
    ("replace_symlink", &[Any], 1),
    ("bind_socket", &[Any], 1),
    ("unlink", &[Any], 4),
    ("rmdir", &[Directory], 1),
    ("remove_tree", &[Any], 2),
    ("recreate", &[File], 2),
    ("recreate_directory", &[Directory], 2),
    ("link", &[Any, Any], 8),
    ("link_by_descriptor", &[File, Any], 2),
    ("rename", &[Any, Any], 8),
    ("exchange", &[Any, Any], 3),
    ("exchange_alike", &[File, File], 2),
    ("rename_over_alike", &[File], 2),
    ("rename_new_over", &[File], 3),
    ("rename_away_and_back", &[Any], 2),
    ("rename_then_write_inside", &[Directory, Directory], 3),
    ("open_rename_write", &[File, Any], 2),
    ("unlink_write_link", &[File], 2),
    ("alias_write", &[File, Any], 4),
    ("alias_write_in_new_directory", &[File, Directory], 3),
    ("alias_write_outside", &[File], 3),
    ("alias_chmod_outside", &[File], 2),
    ("link_outside", &[File, Outside], 2),
    ("write_outside", &[Outside], 3),
    ("move_out", &[Any, Outside], 1),
    ("move_in", &[Outside, Any], 2),
    ("move_out_write_in", &[Any], 2),
    ("remove_outside", &[Outside], 1),
    ("nameless_then_link", &[Any], 2),
    ("churn", &[Directory], 1),
    ("churn_and_remove", &[Directory], 1),
    ("write_by_proc", &[File], 1),
    ("write_in_chroot", &[File], 1),
    ("hold", &[File, Key], 2),
    ("write_held", &[Key], 3),
    ("release_held", &[Key], 1),
    ("write_in_flight", &[File], 1),
    ("map_write_in_flight", &[File], 1),
    ("aio_write", &[File], 1),
    ("aio_write_in_flight", &[File], 1),
    ("uring_write", &[File], 1),
    ("uring_write_fixed", &[File], 1),
    ("uring_write_and_be_killed", &[File], 1),
    ("uring_map_write_and_be_killed", &[File], 1),
    ("daemon", &[File], 1),
];

/// The directories that operations are about; few, so that they meet.
pub const DIRECTORIES: [&str; 6] = ["d0", "d1", "d0/e", "d1/e", "d0/e/x", "new"];

/// A part of the root that is as a small root: what is done in one meets little of what is done in
/// another, so that many small steps can be one. The first is the root itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct District(pub usize);

impl District {
    /// Returns what its paths begin with.
    pub fn prefix(self) -> String {
        match self.0 {
            0 => String::new(),
            number => format!("t{number}/"),
        }
    }

    /// Returns the path of a directory.
    pub fn directory(self, random: &mut Random) -> String {
        format!("{}{}", self.prefix(), random.pick(&DIRECTORIES))
    }

    /// Returns the path of a file.
    pub fn file(self, random: &mut Random) -> String {
        let name = *random.pick(&["f0", "f1", "f2", "f3"]);
        match random.below(DIRECTORIES.len() + 1) {
            0 => format!("{}{name}", self.prefix()),
            _ => format!("{}/{name}", self.directory(random)),
        }
    }

    fn outside(self, random: &mut Random) -> String {
        let name = *random.pick(&["o0", "o1", "o2"]);
        match self.0 {
            0 => name.to_owned(),
            number => format!("{name}-{number}"),
        }
    }
}

/// Returns the number of districts that paths of these operations are in.
pub fn district_count<'a>(operations: impl Iterator<Item = &'a Operation>) -> usize {
    let words = operations.flat_map(|Operation(words)| words.iter().skip(1));
    let number = |word: &String| -> Option<usize> {
        word.strip_prefix('t')?.split('/').next()?.parse().ok()
    };
    words.filter_map(number).max().map_or(1, |last| last + 1)
}

fn argument(random: &mut Random, kind: Argument, district: District) -> String {
    match kind {
        Argument::File => district.file(random),
        Argument::Directory => district.directory(random),
        Argument::Any if random.below(3) == 0 => district.directory(random),
        Argument::Any => district.file(random),
        Argument::Outside => district.outside(random),
        Argument::Key => (*random.pick(&["k0", "k1"])).to_owned(),
    }
}

/// What random steps are made of.
#[derive(Debug, Clone)]
pub struct Mix {
    /// How often each of [`OPERATIONS`] comes, in their order.
    pub weights: Vec<usize>,
    /// Whether the whole machine has to give memory back now and then, and queues are flooded.
    pub is_rough: bool,
    /// How many districts there are.
    pub districts: usize,
    /// Steps are put together from so many small ones at most, each in one district.
    pub parts: usize,
}

impl Default for Mix {
    /// Small steps on a small root.
    fn default() -> Self {
        let weights = OPERATIONS.iter().map(|(.., weight)| *weight).collect();
        Self { weights, is_rough: false, districts: 1, parts: 1 }
    }
}

impl Mix {
    /// Returns a random operation.
    pub fn operation(&self, random: &mut Random, district: District) -> Operation {
        let mut place = random.below(self.weights.iter().sum());
        let found = OPERATIONS.iter().zip(&self.weights).find(|(_, weight)| {
            let found = place < **weight;
            place = place.wrapping_sub(**weight);
            found
        });
        let ((name, arguments, _), _) = found.expect("the weights add up");
        let arguments = arguments.iter().map(|&kind| {
            // Now and then something goes from one district to another.
            let is_elsewhere = self.districts > 1 && random.below(ELSEWHERE) == 0;
            let district =
                if is_elsewhere { District(random.below(self.districts)) } else { district };
            argument(random, kind, district)
        });
        Operation(std::iter::once((*name).to_owned()).chain(arguments).collect())
    }

    /// Returns a random step of one to three writers that run at once.
    pub fn step(&self, random: &mut Random) -> Vec<Vec<Operation>> {
        // Small ones stay among them: what is done besides can hide what a tracker leaves out.
        let parts = match self.parts {
            1 => 1,
            parts if random.below(SMALL) == 0 => 1 + random.below(parts),
            parts => parts,
        };
        let mut step: Vec<Vec<Operation>> = Vec::new();
        for _ in 0..parts {
            let district = if self.districts == 1 { 0 } else { random.below(self.districts) };
            for (writer, operations) in
                self.small_step(random, District(district)).into_iter().enumerate()
            {
                match step.get_mut(writer) {
                    Some(earlier) => earlier.extend(operations),
                    None => step.push(operations),
                }
            }
        }
        if self.is_rough {
            if random.below(RECLAIM) == 0 {
                step[0].insert(0, Operation::new(["reclaim"]));
            }
            if random.below(FLOOD) == 0 {
                step[0].push(Operation::new(["flood", &District(0).directory(random)]));
            }
        }
        step
    }

    fn small_step(&self, random: &mut Random, district: District) -> Vec<Vec<Operation>> {
        let writers = 1 + random.below(3);
        (0..writers)
            .map(|_| {
                let count = 1 + random.below(12);
                (0..count).map(|_| self.operation(random, district)).collect()
            })
            .collect()
    }
}

/// One argument in so many is of another district.
const ELSEWHERE: usize = 40;
/// One step in so many is of fewer parts.
const SMALL: usize = 6;
/// With a rough mix, one step in so many begins with the kernel forgetting unused inodes …
const RECLAIM: usize = 80;
/// … and one in so many is a flood of events.
const FLOOD: usize = 400;
