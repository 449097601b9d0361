/**
 * Where CPUID tells of each feature, by the names of /proc/cpuinfo (arch/x86/include/asm/cpufeatures.h of Linux; Intel SDM
 * volume 2, CPUID; AMD APM volume 3, appendix E).
 */

export type Register = 'eax' | 'ebx' | 'ecx' | 'edx';

/** One register with features. */
export interface FeatureWord {
  readonly leaf: number;
  /** Undefined where CPUID does not look at it. */
  readonly subleaf?: number;
  readonly register: Register;
  /** Names by bit, from bit 0; `-` for a bit without one. */
  readonly names: readonly string[];
  /** Bits that are no features, and shown as they are. */
  readonly kept?: number;
}

function word(at: Omit<FeatureWord, 'names'>, names: string): FeatureWord {
  return { ...at, names: names.split(/\s+/) };
}

/** CPUID.1:EDX, which is also AT_HWCAP. */
export const BASIC = word(
  { leaf: 1, register: 'edx' },
  'fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe',
);

/** AMD repeats these bits of {@link BASIC} in CPUID.80000001H:EDX. */
export const REPEATED_BY_AMD = 0x0183f3ff;

export const EXTENDED = word(
  { leaf: 0x80000001, register: 'edx' },
  '- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow',
);

export const FEATURE_WORDS: readonly FeatureWord[] = [
  BASIC,
  word(
    { leaf: 1, register: 'ecx' },
    'pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave osxsave avx f16c rdrand hypervisor',
  ),
  EXTENDED,
  word(
    { leaf: 0x80000001, register: 'ecx' },
    'lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx',
  ),
  word(
    // 6 and 13 say what the CPU does not do: FDP only on exceptions, no FCS and FDS.
    { leaf: 7, subleaf: 0, register: 'ebx', kept: (1 << 6) | (1 << 13) },
    'fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl',
  ),
  word(
    { leaf: 7, subleaf: 0, register: 'ecx' },
    'prefetchwt1 avx512vbmi umip pku ospke waitpkg avx512_vbmi2 cet_ss gfni vaes vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd sgx_lc',
  ),
  word(
    // 11 and 15: RTM always aborts; the CPU has cores of several kinds.
    { leaf: 7, subleaf: 0, register: 'edx', kept: (1 << 11) | (1 << 15) },
    '- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect srbds_ctrl md_clear - - tsx_force_abort serialize - tsxldtrk - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 spec_ctrl intel_stibp flush_l1d arch_capabilities core_capabilities spec_ctrl_ssbd',
  ),
  word(
    { leaf: 7, subleaf: 1, register: 'eax' },
    'sha512 sm3 sm4 - avx_vnni avx512_bf16 lass cmpccxadd - - fzrm fsrs fsrc - - - - fred lkgs wrmsrns - amx_fp16 - avx_ifma - - lam',
  ),
  // Features that have no name yet.
  word({ leaf: 7, subleaf: 1, register: 'ebx' }, ''),
  word({ leaf: 7, subleaf: 1, register: 'ecx' }, ''),
  word({ leaf: 7, subleaf: 1, register: 'edx' }, ''),
  word({ leaf: 0xd, subleaf: 1, register: 'eax' }, 'xsaveopt xsavec xgetbv1 xsaves'),
  word({ leaf: 6, register: 'eax' }, 'dtherm ida arat - pln - pts hwp hwp_notify hwp_act_window hwp_epp hwp_pkg_req'),
  word(
    { leaf: 0x80000008, register: 'ebx' },
    'clzero irperf xsaveerptr - rdpru - - - - wbnoinvd - - amd_ibpb - amd_ibrs amd_stibp - amd_stibp_always_on - - - - - amd_ppin amd_ssbd virt_ssbd amd_ssb_no cppc amd_psfd btc_no - brs',
  ),
  word(
    { leaf: 0x8000000a, register: 'edx' },
    'npt lbrv svm_lock nrip_save tsc_scale vmcb_clean flushbyasid decodeassists - - pausefilter - pfthreshold avic - v_vmsave_vmload vgif x2avic - - v_spec_ctrl - - - - vnmi',
  ),
  word({ leaf: 0x80000007, register: 'ebx' }, 'overflow_recov succor - smca'),
  word({ leaf: 0x8000001f, register: 'eax' }, 'sme sev - sev_es sev_snp v_tsc_aux'),
  word(
    { leaf: 0x80000021, register: 'eax' },
    'no_nested_data_bp wrmsr_xx_base_ns lfence_rdtsc - - - null_sel_clr_base - autoibrs no_smm_ctl_msr fsrs fsrc - - prefetchi',
  ),
];

/** Features that Linux finds out otherwise: programs see them in /proc/cpuinfo only. */
export const WITHOUT_CPUID: readonly string[] =
  'cxmmx k6_mtrr cyrix_arr centaur_mcr constant_tsc up art arch_perfmon pebs bts rep_good acc_power nopl xtopology tsc_reliable nonstop_tsc cpuid extd_apicid amd_dcm aperfmperf rapl nonstop_tsc_s3 tsc_known_freq ring3mwait cpuid_fault cpb epb cat_l3 cat_l2 cdp_l3 cdp_l2 invpcid_single hw_pstate proc_feedback pti intel_ppin ssbd mba ibrs ibpb stibp ibrs_enhanced tpr_shadow flexpriority ept vpid ept_ad vmmcall split_lock_detect cqm_llc cqm_occup_llc cqm_mbm_total cqm_mbm_local user_shstk'.split(
    ' ',
  );

/** Shown when another is: Linux has no name of its own for it in /proc/cpuinfo. */
export const GOES_WITH: Readonly<Record<string, string>> = {
  osxsave: 'xsave',
};
