//! The structs of NVENC's interface as they are from API 12.2 to 13.1, with its own field names. A test compares every
//! offset, size and bit with NVIDIA's header where one is at hand. All fields are integers or pointers, so that all zero
//! is a value of each; C's enums are plain numbers, because a driver may know more of them.

#![allow(non_snake_case)]

use std::ffi::{c_int, c_void};

/// What the tests know of a struct: C's name, size, and per field name, offset and size.
#[cfg(test)]
pub type Described = (&'static str, usize, Vec<(&'static str, usize, usize)>);

macro_rules! structs {
    ($($(#[$meta:meta])* $name:ident = $c:literal { $($field:ident: $ty:ty,)* })*) => {
        $($(#[$meta])* #[repr(C)] #[derive(Clone, Copy)]
        pub struct $name { $(pub $field: $ty,)* }

        // SAFETY: integers, pointers, and arrays, structs and unions of them only.
        unsafe impl Plain for $name {})*

        #[cfg(test)]
        pub fn structs() -> Vec<Described> {
            vec![$(($c, size_of::<$name>(), vec![$(
                (stringify!($field), std::mem::offset_of!($name, $field), {
                    const fn size<T, F>(_: fn(&T) -> &F) -> usize { size_of::<F>() }
                    size::<$name, $ty>(|s| &s.$field)
                }),
            )*])),*]
        }
    };
}

/// Plain C data.
///
/// # Safety
/// All zero must be a value of it.
pub unsafe trait Plain: Copy {
    /// All zero.
    fn zeroed() -> Self {
        // SAFETY: what the trait promises.
        unsafe { std::mem::zeroed() }
    }
}

/// `GUID`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid(pub u32, pub u16, pub u16, pub [u8; 8]);

structs! {
    Qp = "NV_ENC_QP" { qpInterP: u32, qpInterB: u32, qpIntra: u32, }

    RcParams = "NV_ENC_RC_PARAMS" {
        version: u32, rateControlMode: u32, constQP: Qp, averageBitRate: u32, maxBitRate: u32, vbvBufferSize: u32,
        vbvInitialDelay: u32, flags: u32, minQP: Qp, maxQP: Qp, initialRCQP: Qp, temporallayerIdxMask: u32,
        temporalLayerQP: [u8; 8], targetQuality: u8, targetQualityLSB: u8, lookaheadDepth: u16,
        lowDelayKeyFrameScale: u8, yDcQPIndexOffset: i8, uDcQPIndexOffset: i8, vDcQPIndexOffset: i8, qpMapMode: u32,
        multiPass: u32, alphaLayerBitrateRatio: u32, cbQPIndexOffset: i8, crQPIndexOffset: i8, reserved2: u16,
        lookaheadLevel: u32, viewBitrateRatios: [u8; 7], reserved3: u8, reserved1: u32,
    }

    Vui = "NV_ENC_CONFIG_H264_VUI_PARAMETERS" {
        overscanInfoPresentFlag: u32, overscanInfo: u32, videoSignalTypePresentFlag: u32, videoFormat: u32,
        videoFullRangeFlag: u32, colourDescriptionPresentFlag: u32, colourPrimaries: u32,
        transferCharacteristics: u32, colourMatrix: u32, chromaSampleLocationFlag: u32,
        chromaSampleLocationTop: u32, chromaSampleLocationBot: u32, bitstreamRestrictionFlag: u32,
        timingInfoPresentFlag: u32, numUnitInTicks: u32, timeScale: u32, reserved: [u32; 12],
    }

    ConfigH264 = "NV_ENC_CONFIG_H264" {
        flags: u32, level: u32, idrPeriod: u32, separateColourPlaneFlag: u32, disableDeblockingFilterIDC: u32,
        numTemporalLayers: u32, spsId: u32, ppsId: u32, adaptiveTransformMode: u32, fmoMode: u32, bdirectMode: u32,
        entropyCodingMode: u32, stereoMode: u32, intraRefreshPeriod: u32, intraRefreshCnt: u32,
        maxNumRefFrames: u32, sliceMode: u32, sliceModeData: u32, h264VUIParameters: Vui, ltrNumFrames: u32,
        ltrTrustMode: u32, chromaFormatIDC: u32, maxTemporalLayers: u32, useBFramesAsRef: u32, numRefL0: u32,
        numRefL1: u32, outputBitDepth: u32, inputBitDepth: u32, tfLevel: u32, reserved1: [u32; 264],
        reserved2: [*mut c_void; 64],
    }

    ConfigHevc = "NV_ENC_CONFIG_HEVC" {
        level: u32, tier: u32, minCUSize: u32, maxCUSize: u32, flags: u32, idrPeriod: u32,
        intraRefreshPeriod: u32, intraRefreshCnt: u32, maxNumRefFramesInDPB: u32, ltrNumFrames: u32, vpsId: u32,
        spsId: u32, ppsId: u32, sliceMode: u32, sliceModeData: u32, maxTemporalLayersMinus1: u32,
        hevcVUIParameters: Vui, ltrTrustMode: u32, useBFramesAsRef: u32, numRefL0: u32, numRefL1: u32,
        tfLevel: u32, disableDeblockingFilterIDC: u32, outputBitDepth: u32, inputBitDepth: u32,
        numTemporalLayers: u32, numViews: u32, reserved1: [u32; 208], reserved2: [*mut c_void; 64],
    }

    ConfigAv1 = "NV_ENC_CONFIG_AV1" {
        level: u32, tier: u32, minPartSize: u32, maxPartSize: u32, flags: u32, idrPeriod: u32,
        intraRefreshPeriod: u32, intraRefreshCnt: u32, maxNumRefFramesInDPB: u32, numTileColumns: u32,
        numTileRows: u32, reserved2: u32, tileWidths: *mut u32, tileHeights: *mut u32,
        maxTemporalLayersMinus1: u32, colorPrimaries: u32, transferCharacteristics: u32, matrixCoefficients: u32,
        colorRange: u32, chromaSamplePosition: u32, useBFramesAsRef: u32, filmGrainParams: *mut c_void,
        numFwdRefs: u32, numBwdRefs: u32, outputBitDepth: u32, inputBitDepth: u32, ltrNumFrames: u32,
        numTemporalLayers: u32, tfLevel: u32, reserved1: [u32; 230], reserved3: [*mut c_void; 62],
    }

    Config = "NV_ENC_CONFIG" {
        version: u32, profileGUID: Guid, gopLength: u32, frameIntervalP: i32, monoChromeEncoding: u32,
        frameFieldMode: u32, mvPrecision: u32, rcParams: RcParams, encodeCodecConfig: CodecConfig,
        reserved: [u32; 278], reserved2: [*mut c_void; 64],
    }

    MeHints = "NVENC_EXTERNAL_ME_HINT_COUNTS_PER_BLOCKTYPE" { flags: u32, reserved1: [u32; 3], }

    Initialize = "NV_ENC_INITIALIZE_PARAMS" {
        version: u32, encodeGUID: Guid, presetGUID: Guid, encodeWidth: u32, encodeHeight: u32, darWidth: u32,
        darHeight: u32, frameRateNum: u32, frameRateDen: u32, enableEncodeAsync: u32, enablePTD: u32, flags: u32,
        privDataSize: u32, reserved: u32, privData: *mut c_void, encodeConfig: *mut Config, maxEncodeWidth: u32,
        maxEncodeHeight: u32, maxMEHintCountsPerBlock: [MeHints; 2], tuningInfo: u32, bufferFormat: u32,
        numStateBuffers: u32, outputStatsLevel: u32, reserved1: [u32; 284], reserved2: [*mut c_void; 64],
    }

    Reconfigure = "NV_ENC_RECONFIGURE_PARAMS" {
        version: u32, reserved: u32, reInitEncodeParams: Initialize, flags: u32, reserved2: u32,
    }

    PresetConfig = "NV_ENC_PRESET_CONFIG" {
        version: u32, reserved: u32, presetCfg: Config, reserved1: [u32; 256], reserved2: [*mut c_void; 64],
    }

    CapsParam = "NV_ENC_CAPS_PARAM" { version: u32, capsToQuery: u32, reserved: [u32; 62], }

    CreateInput = "NV_ENC_CREATE_INPUT_BUFFER" {
        version: u32, width: u32, height: u32, memoryHeap: u32, bufferFmt: u32, reserved: u32,
        inputBuffer: *mut c_void, pSysMemBuffer: *mut c_void, reserved1: [u32; 58], reserved2: [*mut c_void; 63],
    }

    CreateBitstream = "NV_ENC_CREATE_BITSTREAM_BUFFER" {
        version: u32, size: u32, memoryHeap: u32, reserved: u32, bitstreamBuffer: *mut c_void,
        bitstreamBufferPtr: *mut c_void, reserved1: [u32; 58], reserved2: [*mut c_void; 64],
    }

    ChromaPoint = "CHROMA_POINTS" { x: u16, y: u16, }

    MasteringDisplayInfo = "MASTERING_DISPLAY_INFO" {
        g: ChromaPoint, b: ChromaPoint, r: ChromaPoint, whitePoint: ChromaPoint, maxLuma: u32, minLuma: u32,
    }

    ContentLightLevel = "CONTENT_LIGHT_LEVEL" { maxContentLightLevel: u16, maxPicAverageLightLevel: u16, }

    ClockTimestamp = "NV_ENC_CLOCK_TIMESTAMP_SET" { flags: u32, timeOffset: u32, }

    TimeCode = "NV_ENC_TIME_CODE" {
        displayPicStruct: u32, clockTimestamp: [ClockTimestamp; 3], skipClockTimestampInsertion: u32,
    }

    SeiPayload = "NV_ENC_SEI_PAYLOAD" { payloadSize: u32, payloadType: u32, payload: *mut u8, }

    PicParamsMvc = "NV_ENC_PIC_PARAMS_MVC" {
        version: u32, viewID: u32, temporalID: u32, priorityID: u32, reserved1: [u32; 12],
        reserved2: [*mut c_void; 8],
    }

    PicParamsH264 = "NV_ENC_PIC_PARAMS_H264" {
        displayPOCSyntax: u32, reserved3: u32, refPicFlag: u32, colourPlaneId: u32,
        forceIntraRefreshWithFrameCnt: u32, flags: u32, sliceTypeData: *mut u8, sliceTypeArrayCnt: u32,
        seiPayloadArrayCnt: u32, seiPayloadArray: *mut SeiPayload, sliceMode: u32, sliceModeData: u32,
        ltrMarkFrameIdx: u32, ltrUseFrameBitmap: u32, ltrUsageMode: u32, forceIntraSliceCount: u32,
        forceIntraSliceIdx: *mut u32, h264ExtPicParams: PicParamsMvc, timeCode: TimeCode, reserved: [u32; 202],
        reserved2: [*mut c_void; 61],
    }

    PicParamsHevc = "NV_ENC_PIC_PARAMS_HEVC" {
        displayPOCSyntax: u32, refPicFlag: u32, temporalId: u32, forceIntraRefreshWithFrameCnt: u32, flags: u32,
        reserved1: u32, sliceTypeData: *mut u8, sliceTypeArrayCnt: u32, sliceMode: u32, sliceModeData: u32,
        ltrMarkFrameIdx: u32, ltrUseFrameBitmap: u32, ltrUsageMode: u32, seiPayloadArrayCnt: u32, reserved: u32,
        seiPayloadArray: *mut SeiPayload, timeCode: TimeCode, numTemporalLayers: u32, viewId: u32,
        p3DReferenceDisplayInfo: *mut c_void, pMaxCll: *mut ContentLightLevel,
        pMasteringDisplay: *mut MasteringDisplayInfo, reserved2: [u32; 234], reserved3: [*mut c_void; 58],
    }

    PicParamsAv1 = "NV_ENC_PIC_PARAMS_AV1" {
        displayPOCSyntax: u32, refPicFlag: u32, temporalId: u32, forceIntraRefreshWithFrameCnt: u32, flags: u32,
        numTileColumns: u32, numTileRows: u32, reserved: u32, tileWidths: *mut u32, tileHeights: *mut u32,
        obuPayloadArrayCnt: u32, reserved1: u32, obuPayloadArray: *mut SeiPayload, filmGrainParams: *mut c_void,
        ltrMarkFrameIdx: u32, ltrUseFrameBitmap: u32, numTemporalLayers: u32, reserved4: u32,
        pMaxCll: *mut ContentLightLevel, pMasteringDisplay: *mut MasteringDisplayInfo, reserved2: [u32; 242],
        reserved3: [*mut c_void; 59],
    }

    PicParams = "NV_ENC_PIC_PARAMS" {
        version: u32, inputWidth: u32, inputHeight: u32, inputPitch: u32, encodePicFlags: u32, frameIdx: u32,
        inputTimeStamp: u64, inputDuration: u64, inputBuffer: *mut c_void, outputBitstream: *mut c_void,
        completionEvent: *mut c_void, bufferFmt: u32, pictureStruct: u32, pictureType: u32,
        codecPicParams: CodecPicParams, meHintCountsPerBlock: [MeHints; 2], meExternalHints: *mut c_void,
        reserved2: [u32; 7], reserved5: [*mut c_void; 2], qpDeltaMap: *mut i8, qpDeltaMapSize: u32,
        reservedBitFields: u32, meHintRefPicDist: [u16; 2], reserved4: u32, alphaBuffer: *mut c_void,
        meExternalSbHints: *mut c_void, meSbHintsCount: u32, stateBufferIdx: u32, outputReconBuffer: *mut c_void,
        reserved3: [u32; 284], reserved6: [*mut c_void; 57],
    }

    LockBitstream = "NV_ENC_LOCK_BITSTREAM" {
        version: u32, flags: u32, outputBitstream: *mut c_void, sliceOffsets: *mut u32, frameIdx: u32,
        hwEncodeStatus: u32, numSlices: u32, bitstreamSizeInBytes: u32, outputTimeStamp: u64, outputDuration: u64,
        bitstreamBufferPtr: *mut c_void, pictureType: u32, pictureStruct: u32, frameAvgQP: u32, frameSatd: u32,
        ltrFrameIdx: u32, ltrFrameBitmap: u32, temporalId: u32, intraMBCount: u32, interMBCount: u32,
        averageMVX: i32, averageMVY: i32, alphaLayerSizeInBytes: u32, outputStatsPtrSize: u32, reserved: u32,
        outputStatsPtr: *mut c_void, frameIdxDisplay: u32, reserved1: [u32; 219], reserved2: [*mut c_void; 63],
        reservedInternal: [u32; 8],
    }

    LockInput = "NV_ENC_LOCK_INPUT_BUFFER" {
        version: u32, flags: u32, inputBuffer: *mut c_void, bufferDataPtr: *mut c_void, pitch: u32,
        reserved1: [u32; 251], reserved2: [*mut c_void; 64],
    }

    MapInput = "NV_ENC_MAP_INPUT_RESOURCE" {
        version: u32, subResourceIndex: u32, inputResource: *mut c_void, registeredResource: *mut c_void,
        mappedResource: *mut c_void, mappedBufferFmt: u32, reserved1: [u32; 251], reserved2: [*mut c_void; 63],
    }

    Register = "NV_ENC_REGISTER_RESOURCE" {
        version: u32, resourceType: u32, width: u32, height: u32, pitch: u32, subResourceIndex: u32,
        resourceToRegister: *mut c_void, registeredResource: *mut c_void, bufferFormat: u32, bufferUsage: u32,
        pInputFencePoint: *mut c_void, chromaOffset: [u32; 2], chromaOffsetIn: [u32; 2], reserved1: [u32; 244],
        reserved2: [*mut c_void; 61],
    }

    SequenceParams = "NV_ENC_SEQUENCE_PARAM_PAYLOAD" {
        version: u32, inBufferSize: u32, spsId: u32, ppsId: u32, spsppsBuffer: *mut c_void,
        outSPSPPSPayloadSize: *mut u32, reserved: [u32; 250], reserved2: [*mut c_void; 64],
    }

    OpenSession = "NV_ENC_OPEN_ENCODE_SESSION_EX_PARAMS" {
        version: u32, deviceType: u32, device: *mut c_void, reserved: *mut c_void, apiVersion: u32,
        reserved1: [u32; 253], reserved2: [*mut c_void; 64],
    }
}

/// `NV_ENC_CODEC_CONFIG`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union CodecConfig {
    pub h264: ConfigH264,
    pub hevc: ConfigHevc,
    pub av1: ConfigAv1,
    pub reserved: [u32; 320],
}

/// `NV_ENC_CODEC_PIC_PARAMS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub union CodecPicParams {
    pub h264: PicParamsH264,
    pub hevc: PicParamsHevc,
    pub av1: PicParamsAv1,
    pub reserved: [u32; 256],
}

type Status = c_int;
type Session = *mut c_void;

macro_rules! functions {
    ($($field:ident: $ty:ty,)*) => {
        /// `NV_ENCODE_API_FUNCTION_LIST`: what the driver fills in. A null entry is a function that it lacks.
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub struct FunctionList {
            pub version: u32,
            pub reserved: u32,
            $(pub $field: $ty,)*
            pub reserved2: [*mut c_void; 275],
        }

        // SAFETY: numbers, and function pointers that may be null.
        unsafe impl Plain for FunctionList {}

        #[cfg(test)]
        pub fn functions() -> Vec<(&'static str, usize)> {
            vec![$((stringify!($field), std::mem::offset_of!(FunctionList, $field))),*]
        }
    };
}

/// A function that is not used.
type Unused = Option<unsafe extern "C" fn()>;

functions! {
    nvEncOpenEncodeSession: Unused,
    nvEncGetEncodeGUIDCount: Option<unsafe extern "C" fn(Session, *mut u32) -> Status>,
    nvEncGetEncodeProfileGUIDCount: Option<unsafe extern "C" fn(Session, Guid, *mut u32) -> Status>,
    nvEncGetEncodeProfileGUIDs: Option<unsafe extern "C" fn(Session, Guid, *mut Guid, u32, *mut u32) -> Status>,
    nvEncGetEncodeGUIDs: Option<unsafe extern "C" fn(Session, *mut Guid, u32, *mut u32) -> Status>,
    nvEncGetInputFormatCount: Option<unsafe extern "C" fn(Session, Guid, *mut u32) -> Status>,
    nvEncGetInputFormats: Option<unsafe extern "C" fn(Session, Guid, *mut u32, u32, *mut u32) -> Status>,
    nvEncGetEncodeCaps: Option<unsafe extern "C" fn(Session, Guid, *mut CapsParam, *mut c_int) -> Status>,
    nvEncGetEncodePresetCount: Unused,
    nvEncGetEncodePresetGUIDs: Unused,
    nvEncGetEncodePresetConfig: Unused,
    nvEncInitializeEncoder: Option<unsafe extern "C" fn(Session, *mut Initialize) -> Status>,
    nvEncCreateInputBuffer: Option<unsafe extern "C" fn(Session, *mut CreateInput) -> Status>,
    nvEncDestroyInputBuffer: Option<unsafe extern "C" fn(Session, *mut c_void) -> Status>,
    nvEncCreateBitstreamBuffer: Option<unsafe extern "C" fn(Session, *mut CreateBitstream) -> Status>,
    nvEncDestroyBitstreamBuffer: Option<unsafe extern "C" fn(Session, *mut c_void) -> Status>,
    nvEncEncodePicture: Option<unsafe extern "C" fn(Session, *mut PicParams) -> Status>,
    nvEncLockBitstream: Option<unsafe extern "C" fn(Session, *mut LockBitstream) -> Status>,
    nvEncUnlockBitstream: Option<unsafe extern "C" fn(Session, *mut c_void) -> Status>,
    nvEncLockInputBuffer: Option<unsafe extern "C" fn(Session, *mut LockInput) -> Status>,
    nvEncUnlockInputBuffer: Option<unsafe extern "C" fn(Session, *mut c_void) -> Status>,
    nvEncGetEncodeStats: Unused,
    nvEncGetSequenceParams: Option<unsafe extern "C" fn(Session, *mut SequenceParams) -> Status>,
    nvEncRegisterAsyncEvent: Unused,
    nvEncUnregisterAsyncEvent: Unused,
    nvEncMapInputResource: Option<unsafe extern "C" fn(Session, *mut MapInput) -> Status>,
    nvEncUnmapInputResource: Option<unsafe extern "C" fn(Session, *mut c_void) -> Status>,
    nvEncDestroyEncoder: Option<unsafe extern "C" fn(Session) -> Status>,
    nvEncInvalidateRefFrames: Option<unsafe extern "C" fn(Session, u64) -> Status>,
    nvEncOpenEncodeSessionEx: Option<unsafe extern "C" fn(*mut OpenSession, *mut Session) -> Status>,
    nvEncRegisterResource: Option<unsafe extern "C" fn(Session, *mut Register) -> Status>,
    nvEncUnregisterResource: Option<unsafe extern "C" fn(Session, *mut c_void) -> Status>,
    nvEncReconfigureEncoder: Option<unsafe extern "C" fn(Session, *mut Reconfigure) -> Status>,
    reserved1: *mut c_void,
    nvEncCreateMVBuffer: Unused,
    nvEncDestroyMVBuffer: Unused,
    nvEncRunMotionEstimationOnly: Unused,
    nvEncGetLastErrorString: Option<unsafe extern "C" fn(Session) -> *const std::ffi::c_char>,
    nvEncSetIOCudaStreams: Option<unsafe extern "C" fn(Session, *mut c_void, *mut c_void) -> Status>,
    nvEncGetEncodePresetConfigEx: Option<unsafe extern "C" fn(Session, Guid, Guid, u32, *mut PresetConfig) -> Status>,
    nvEncGetSequenceParamEx: Unused,
    nvEncRestoreEncoderState: Unused,
    nvEncLookaheadPicture: Unused,
}

macro_rules! bits {
    ($($c:literal, $field:ident of $ty:ident, $module:ident { $($bit:ident = $shift:literal $(, $width:literal)?;)* })*) => {
        $(#[doc = $c]
        #[allow(non_upper_case_globals)]
        pub mod $module {
            $(pub const $bit: u32 = mask($shift, 1 $(* $width)?);)*
            use super::mask;
        })*

        /// C's struct and bit, then where it is: bit of the struct, number of bits.
        #[cfg(test)]
        pub fn bits() -> Vec<(&'static str, &'static str, usize, u32)> {
            vec![$($((
                $c,
                stringify!($bit),
                std::mem::offset_of!($ty, $field) * 8 + $shift,
                $module::$bit.count_ones(),
            ),)*)*]
        }
    };
}

const fn mask(shift: u32, width: u32) -> u32 {
    ((1 << width) - 1) << shift
}

/// `value` in the bits of `mask`, cut to them.
pub fn field(mask: u32, value: u32) -> u32 {
    (value << mask.trailing_zeros()) & mask
}

/// Sets the bits of `mask` in `word` to `value`.
pub fn set(word: &mut u32, mask: u32, value: u32) {
    *word = (*word & !mask) | field(mask, value);
}

bits! {
    "NV_ENC_RC_PARAMS", flags of RcParams, rc {
        enableMinQP = 0; enableMaxQP = 1; enableAQ = 3; enableLookahead = 5; disableIadapt = 6; disableBadapt = 7;
        enableTemporalAQ = 8; zeroReorderDelay = 9; enableNonRefP = 10; strictGOPTarget = 11; aqStrength = 12, 4;
    }
    "NV_ENC_CONFIG_H264", flags of ConfigH264, h264 {
        outputBufferingPeriodSEI = 4; outputPictureTimingSEI = 5; outputAUD = 6; disableSPSPPS = 7;
        outputRecoveryPointSEI = 9; enableIntraRefresh = 10; repeatSPSPPS = 12; qpPrimeYZeroTransformBypassFlag = 15;
        enableFillerDataInsertion = 17; singleSliceIntraRefresh = 20;
    }
    "NV_ENC_CONFIG_HEVC", flags of ConfigHevc, hevc {
        outputBufferingPeriodSEI = 2; outputPictureTimingSEI = 3; outputAUD = 4; disableSPSPPS = 6; repeatSPSPPS = 7;
        enableIntraRefresh = 8; chromaFormatIDC = 9, 2; enableFillerDataInsertion = 14; singleSliceIntraRefresh = 17;
        outputRecoveryPointSEI = 18; outputMaxCll = 23; outputMasteringDisplay = 24;
    }
    "NV_ENC_CONFIG_AV1", flags of ConfigAv1, av1 {
        outputAnnexBFormat = 0; disableSeqHdr = 4; repeatSeqHdr = 5; enableIntraRefresh = 6; chromaFormatIDC = 7, 2;
        enableBitstreamPadding = 9; outputMaxCll = 14; outputMasteringDisplay = 15;
    }
    "NV_ENC_INITIALIZE_PARAMS", flags of Initialize, init { enableWeightedPrediction = 4; splitEncodeMode = 5, 4; }
    "NV_ENC_RECONFIGURE_PARAMS", flags of Reconfigure, reconfigure { resetEncoder = 0; forceIDR = 1; }
}
