//! The return addresses on a stack that is suspended, or was: walked from outside, from its saved registers and a copy of its words.
//!
//! The platform's unwinder only walks the stack of the thread that calls it. This one reads the same tables, `.eh_frame`, which a stock
//! release build has, by the crate gimli, and keeps what it finds for each address: a program's threads wait in few places.
//!
//! Linux on x86_64 and aarch64, with the feature `backtrace`; elsewhere there are no frames.
//!
//! A thread may have left a library, and the program have unloaded that, between the copy and the walk. So tables are read within `dl_iterate_phdr` alone, whose lock the loader needs to unload anything, and
//! nothing is kept that leads to them: only what was found at each address. Of an object that is gone there are no frames, nor of those that had called it. (Where another one has come to
//! the same addresses meanwhile the frames may be wrong; what is read is the copy.)
//!
//! Rejected: the crate framehop, which walks from outside, too (52 ns a walk of five frames). gimli is here anyway, by way of `backtrace`, and what is needed of the tables
//! beside it are the hundred lines below; and a thread whose frame pointer nobody knows needs the guess of [`Walker`]'s `guess_frame`, for which framehop's rules have
//! no place.

/// Where a thread stands, its registers, and the words of its stack from the stack pointer upwards.
#[derive(Debug)]
#[cfg_attr(not(green_stack_walk), allow(dead_code, reason = "nobody walks"))]
pub(crate) struct StackCopy {
    /// The address of the instruction that comes next.
    pub(crate) place: usize,
    /// Stack pointer; the register that has the return address of a function that has not stored it (where there is one: else the place);
    /// frame pointer, 0: it is not known; base register.
    pub(crate) registers: [usize; 4],
    pub(crate) words: Vec<usize>,
}

/// Longer walks are cut.
#[cfg_attr(not(green_stack_walk), allow(dead_code, reason = "nobody walks"))]
pub(crate) const FRAMES: usize = 128;

#[cfg(green_stack_walk)]
pub(crate) use tables::Walker;

#[cfg(not(green_stack_walk))]
mod without {
    /// Finds nothing.
    #[derive(Debug)]
    pub(crate) struct Walker;

    impl Walker {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn walk<G>(&mut self, _: &super::StackCopy, _: &mut Vec<usize>, _: impl Fn() -> Option<G>) {}
    }
}
#[cfg(not(green_stack_walk))]
pub(crate) use without::Walker;

#[cfg(green_stack_walk)]
mod tables {
    use std::collections::HashMap;
    use std::ffi::{c_int, c_void};
    use std::ops::Range;

    use gimli::{
        BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, Pointer, RegisterRule, UnwindContext,
        UnwindSection,
    };

    use super::{FRAMES, StackCopy};

    /// DWARF's numbers of what a context saves (stack pointer, return address, frame pointer, base register).
    #[cfg(target_arch = "x86_64")]
    const NUMBERS: [u16; 4] = [7, 16, 6, 3];
    #[cfg(target_arch = "aarch64")]
    const NUMBERS: [u16; 4] = [31, 30, 29, 19];
    const SP: usize = 0;
    const PC: usize = 1;
    const FP: usize = 2;

    /// How one register of the caller is found.
    #[derive(Clone, Copy, Debug)]
    enum Rule {
        /// It is what it is in the callee.
        Same,
        /// It lies this far from the frame's address.
        At(i64),
        /// It is this far from the frame's address.
        Is(i64),
        Unknown,
    }

    /// How a frame is left: its address is that of a register (by its place in [`NUMBERS`]) and an offset.
    #[derive(Clone, Copy, Debug)]
    struct WalkStep {
        register: usize,
        offset: i64,
        rules: [Rule; 4],
    }

    /// Walks stacks of this process, and remembers how each frame that it has met is left.
    pub(crate) struct Walker {
        /// Where there was code when it began.
        texts: Vec<Range<usize>>,
        context: UnwindContext<usize>,
        steps: HashMap<usize, Option<WalkStep>>,
    }

    impl std::fmt::Debug for Walker {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Walker").field("texts", &self.texts).finish_non_exhaustive()
        }
    }

    impl Walker {
        /// For the program with its libraries. It goes through libc's list of these.
        pub(crate) fn new() -> Self {
            let mut texts = Vec::new();
            // SAFETY: `add_texts` gets what it expects, while the call lasts.
            unsafe { libc::dl_iterate_phdr(Some(add_texts), (&raw mut texts).cast()) };
            Self { texts, context: UnwindContext::new(), steps: HashMap::new() }
        }

        /// Puts the place where the stack's owner stands into `frames`, and those of the calls that led there, innermost first. They lie
        /// within the calls, so that each belongs to the line of its call. `hold`: where the caller may go through libc's list of libraries, while it has the result.
        pub(crate) fn walk<G>(&mut self, stack: &StackCopy, frames: &mut Vec<usize>, hold: impl Fn() -> Option<G>) {
            let mut registers = stack.registers.map(Some);
            registers[FP] = registers[FP].filter(|pointer| *pointer != 0);
            let (begin, mut place) = (stack.registers[SP], stack.place);
            while place != 0 && frames.len() < FRAMES {
                frames.push(place);
                let Some(step) = self.step(place, &hold) else { return };
                if step.register == FP && registers[FP].is_none() {
                    registers[FP] = registers[SP].and_then(|sp| self.guess_frame(stack, sp));
                }
                let Some(base) = registers[step.register] else { return };
                let address = base.wrapping_add_signed(step.offset as isize);
                let word = |at: usize| {
                    let offset = at.checked_sub(begin).filter(|offset| offset.is_multiple_of(size_of::<usize>()))?;
                    stack.words.get(offset / size_of::<usize>()).copied()
                };
                let recover = |(register, rule): (&Option<usize>, Rule)| match rule {
                    Rule::Same => *register,
                    Rule::At(offset) => word(address.wrapping_add_signed(offset as isize)),
                    Rule::Is(offset) => Some(address.wrapping_add_signed(offset as isize)),
                    Rule::Unknown => None,
                };
                let callers = std::array::from_fn(|at| recover((&registers[at], step.rules[at])));
                let is_higher = registers[SP].is_some_and(|sp| address > sp) || frames.len() == 1;
                registers = callers;
                registers[SP] = Some(address);
                let Some(back) = registers[PC].filter(|back| is_higher && *back != 0) else { return };
                place = without_signature(back).wrapping_sub(1);
            }
        }

        /// Where the frame pointer of a frame may point that begins at `sp`: to the first pair of words, from there upwards, that looks like what a function has
        /// stored that keeps one: the pointer to another such pair further up, and a return address.
        fn guess_frame(&self, stack: &StackCopy, sp: usize) -> Option<usize> {
            let (begin, word) = (stack.registers[SP], size_of::<usize>());
            let end = begin + stack.words.len() * word;
            let is_code = |address: usize| self.texts.iter().any(|text| text.contains(&address));
            let first = sp.checked_sub(begin)? / word;
            (first..stack.words.len().saturating_sub(1)).find_map(|at| {
                let (here, up, back) = (begin + at * word, stack.words[at], without_signature(stack.words[at + 1]));
                (up > here && up < end && is_code(back)).then_some(here)
            })
        }

        /// How the frame of the function at `place` is left.
        fn step<G>(&mut self, place: usize, hold: impl Fn() -> Option<G>) -> Option<WalkStep> {
            if let Some(step) = self.steps.get(&place) {
                return *step;
            }
            let _held = hold()?;
            let mut search = StepSearch { place, context: &mut self.context, step: None };
            // SAFETY: `find_step` gets what it expects, while the call lasts.
            unsafe { libc::dl_iterate_phdr(Some(find_step), (&raw mut search).cast()) };
            let step = search.step;
            self.steps.insert(place, step);
            step
        }
    }

    /// What is looked for in the list of libraries.
    struct StepSearch<'a> {
        place: usize,
        context: &'a mut UnwindContext<usize>,
        step: Option<WalkStep>,
    }

    /// A return address without what pointer authentication has put into its upper bits.
    fn without_signature(address: usize) -> usize {
        if cfg!(target_arch = "aarch64") { address & ((1 << 48) - 1) } else { address }
    }

    /// An object of libc's list, while that is gone through: it stays loaded.
    struct LoadedObject<'a> {
        base: u64,
        headers: &'a [libc::Elf64_Phdr],
    }

    impl LoadedObject<'_> {
        /// # Safety
        ///
        /// `info` is what `dl_iterate_phdr` gives, whose call lasts as long as the result.
        unsafe fn new(info: *const libc::dl_phdr_info) -> Self {
            // SAFETY: as the caller promises: there are so many headers.
            let (info, headers) = unsafe {
                let info = &*info;
                (info, std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
            };
            Self { base: info.dlpi_addr, headers }
        }

        fn range(&self, header: &libc::Elf64_Phdr) -> Range<usize> {
            let begin = self.base.wrapping_add(header.p_vaddr) as usize;
            begin..begin.saturating_add(header.p_memsz as usize)
        }

        fn loaded(&self, flags: u32) -> impl Iterator<Item = Range<usize>> {
            let is_loaded =
                move |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD && header.p_flags & flags == flags;
            self.headers.iter().filter(is_loaded).map(|header| self.range(header))
        }

        /// What is loaded from an address on.
        fn bytes_at(&self, address: usize) -> Option<EndianSlice<'_, NativeEndian>> {
            let part = self.loaded(libc::PF_R).find(|part| part.contains(&address))?;
            let first = std::ptr::with_exposed_provenance(address);
            // SAFETY: what is loaded stays readable and the same until the object is unloaded, which is not while the list is gone through.
            let bytes = unsafe { std::slice::from_raw_parts(first, part.end - address) };
            Some(EndianSlice::new(bytes, NativeEndian))
        }

        /// How the frame of the function at `place` is left, which lies in this `text`.
        fn step(&self, text: &Range<usize>, place: usize, context: &mut UnwindContext<usize>) -> Option<WalkStep> {
            // The table of contents, `.eh_frame_hdr`, and the frames lie in the same loaded part, or in neighbours.
            let contents = self.headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?;
            let contents = self.range(contents);
            let bases = BaseAddresses::default().set_eh_frame_hdr(contents.start as u64).set_text(text.start as u64);
            let header = EhFrameHdr::from(self.bytes_at(contents.start)?).parse(&bases, 8).ok()?;
            let Pointer::Direct(frames_at) = header.eh_frame_ptr() else { return None };
            let frames = EhFrame::from(self.bytes_at(frames_at as usize)?);
            let (table, bases) = (header.table()?, bases.set_eh_frame(frames_at));
            let cie = EhFrame::cie_from_offset;
            let row = table.unwind_info_for_address(&frames, &bases, context, place as u64, cie).ok()?;
            let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { return None };
            let register = NUMBERS.iter().position(|number| *number == register.0)?;
            let rules = NUMBERS.map(|number| match row.register(gimli::Register(number)) {
                // What a table does not mention stays.
                None | Some(RegisterRule::SameValue) => Rule::Same,
                Some(RegisterRule::Offset(offset)) => Rule::At(offset),
                Some(RegisterRule::ValOffset(offset)) => Rule::Is(offset),
                Some(_) => Rule::Unknown,
            });
            Some(WalkStep { register, offset, rules })
        }
    }

    /// Adds where there is code to a vector of ranges.
    ///
    /// # Safety
    ///
    /// Called by `dl_iterate_phdr`, with such a vector.
    unsafe extern "C" fn add_texts(info: *mut libc::dl_phdr_info, _: usize, texts: *mut c_void) -> c_int {
        // SAFETY: as the caller promises; nobody else has the vector.
        let (object, texts) = unsafe { (LoadedObject::new(info), &mut *texts.cast::<Vec<Range<usize>>>()) };
        texts.extend(object.loaded(libc::PF_X));
        0
    }

    /// Answers a [`StepSearch`], if it is for this object.
    ///
    /// # Safety
    ///
    /// Called by `dl_iterate_phdr`, with such a search.
    unsafe extern "C" fn find_step(info: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
        // SAFETY: as the caller promises; nobody else has the search.
        let (object, search) = unsafe { (LoadedObject::new(info), &mut *search.cast::<StepSearch<'_>>()) };
        let text = object.loaded(libc::PF_X).find(|text| text.contains(&search.place));
        search.step = text.as_ref().and_then(|text| object.step(text, search.place, search.context));
        c_int::from(text.is_some())
    }
}
