// The part of a session that pictures go through: given, ordered, coded, read.
#include "session.h"
#include "surface.h"
#include "13.0/nvEncodeAPI.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <sys/mman.h>
#include <unistd.h>

namespace standin {

uint32_t Session::encode(const Pic &pic) {
    const char *call = "NvEncEncodePicture";
    if (pic.flags & NV_ENC_PIC_FLAG_EOS) {
        ended_ = true;
        size_t coded = 0;
        return advance(true, coded);
    }
    if (pic.event) return violate(NV_ENC_ERR_INVALID_EVENT, "event", call, "completion events are Windows only");
    const auto output = outputs_.find(pic.output);
    if (output == outputs_.end()) return violate(NV_ENC_ERR_INVALID_PTR, "unknown-handle", call, "outputBitstream is no bitstream buffer");
    if (output->second.state == Output::Held)
        return violate(NV_ENC_ERR_INVALID_CALL, "output-locked", call, "the bitstream buffer is locked");
    if (output->second.state != Output::Free)
        return violate(NV_ENC_ERR_INVALID_CALL, "output-in-use", call, "the bitstream buffer has a picture that was not read yet");
    Frame frame;
    frame.pic = pic;
    const auto input = inputs_.find(pic.input);
    const auto mapping = mappings_.find(pic.input);
    if (input == inputs_.end() && mapping == mappings_.end())
        return violate(NV_ENC_ERR_INVALID_PTR, "unknown-handle", call, "inputBuffer is neither an input buffer nor a mapped resource");
    if (input != inputs_.end() && input->second.locked)
        return violate(NV_ENC_ERR_INVALID_CALL, "input-locked", call, "the input buffer is locked");
    if ((input != inputs_.end() && input->second.in_flight) || (mapping != mappings_.end() && mapping->second.in_flight))
        return violate(NV_ENC_ERR_INVALID_CALL, "input-in-flight", call, "the input holds a picture that is not coded yet");
    Source source;
    if (!source_of(frame, source, call)) return refuse(NV_ENC_ERR_INVALID_PARAM, "the memory of the input is gone");
    if (pic.format != source.format) {
        char line[120];
        snprintf(line, sizeof line, "bufferFmt %#x for a surface of %#x", pic.format, source.format);
        return violate(NV_ENC_ERR_INVALID_PARAM, "buffer-format", call, line);
    }
    // FFmpeg leaves the size of a picture that is in device memory at 0, and drivers take the session's.
    if ((pic.width || pic.height) && (pic.width != init_.width || pic.height != init_.height)) {
        char line[120];
        snprintf(line, sizeof line, "a picture of %ux%u in a session of %ux%u", pic.width, pic.height, init_.width, init_.height);
        return violate(NV_ENC_ERR_INVALID_PARAM, "picture-size", call, line);
    }
    if (source.width < init_.width || source.height < init_.height)
        return violate(NV_ENC_ERR_INVALID_PARAM, "picture-size", call, "the surface is smaller than the picture");
    if (pic.structure != NV_ENC_PIC_STRUCT_FRAME) return refuse(NV_ENC_ERR_INVALID_PARAM, "pictureStruct is not a frame");
    const unsigned chroma = format_chroma(pic.format), depth = format_depth(pic.format);
    if ((chroma && config_.chroma > chroma) || (chroma == 3 && config_.chroma == 2)) {
        return violate(NV_ENC_ERR_INVALID_PARAM, "chroma-format", call, "the surface has less chroma than chromaFormatIDC says");
    }
    if (config_.depth_given && config_.input_depth && config_.input_depth != depth && chroma)
        return violate(NV_ENC_ERR_INVALID_PARAM, "bit-depth", call, "inputBitDepth is not that of the surface");
    if (pic.qp_map_size && !pic.qp_map) return violate(NV_ENC_ERR_INVALID_PTR, "qp-map", call, "qpDeltaMapSize without qpDeltaMap");
    if (pic.qp_map && config_.rates.qp_map_mode != NV_ENC_QP_MAP_DISABLED) {
        const unsigned block = codec_ == Codec::H264 ? 16 : codec_ == Codec::Hevc ? 32 : 64;
        const size_t wanted = static_cast<size_t>((init_.width + block - 1) / block) * ((init_.height + block - 1) / block);
        if (pic.qp_map_size < wanted) return violate(NV_ENC_ERR_INVALID_PARAM, "qp-map", call, "qpDeltaMap is too small for the picture");
        // Reading it all is what the driver does: a short buffer shows under a memory checker.
        volatile int sum = 0;
        for (size_t i = 0; i < wanted; ++i) sum = sum + pic.qp_map[i];
    }
    if (pic.refresh_frames && config_.interval > 1)
        return violate(NV_ENC_ERR_INVALID_PARAM, "intra-refresh", call, "forceIntraRefreshWithFrameCnt with B frames");
    if ((pic.mark_long_term || pic.use_long_term) && !config_.long_term)
        return violate(NV_ENC_ERR_INVALID_PARAM, "long-term", call, "a long-term reference in a session without them");
    for (const Sei &sei : pic.sei)
        if (sei.payload.empty()) return violate(NV_ENC_ERR_INVALID_PARAM, "empty-sei", call, "an SEI payload without bytes");
    if (pic.mastering.present && !config_.mastering)
        standin_violation("hdr-flag", call, "a mastering display is given, outputMasteringDisplay is not set: it would not be written");
    if (pic.light.present && !config_.light)
        standin_violation("hdr-flag", call, "a content light level is given, outputMaxCll is not set: it would not be written");
    if (!init_.decide_types && pic.type != NV_ENC_PIC_TYPE_IDR && pic.type != NV_ENC_PIC_TYPE_I && pic.type != NV_ENC_PIC_TYPE_P)
        return violate(NV_ENC_ERR_INVALID_PARAM, "picture-type", call, "pictureType must be IDR, I or P without enablePTD");

    const uint64_t id = next_frame_++;
    frame.display = display_++;
    if (input != inputs_.end()) ++input->second.in_flight;
    if (mapping != mappings_.end()) {
        ++mapping->second.in_flight;
        ++mapping->second.unlocked;
    }
    output->second.state = Output::Queued;
    output->second.sequence = sequence_++;
    output->second.input = mapping != mappings_.end() ? pic.input : nullptr;
    queued_.push_back(pic.output);
    Waiting waiting;
    waiting.id = id;
    waiting.force_idr = (pic.flags & NV_ENC_PIC_FLAG_FORCEIDR) || force_idr_ || (!init_.decide_types && pic.type == NV_ENC_PIC_TYPE_IDR);
    waiting.force_intra = (pic.flags & NV_ENC_PIC_FLAG_FORCEINTRA) || (!init_.decide_types && pic.type == NV_ENC_PIC_TYPE_I);
    force_idr_ = false;
    ended_ = false;
    frames_.emplace(id, std::move(frame));
    order_.push(waiting);
    size_t coded = 0;
    if (const uint32_t status = advance(false, coded)) return status;
    return coded ? static_cast<uint32_t>(NV_ENC_SUCCESS) : static_cast<uint32_t>(NV_ENC_ERR_NEED_MORE_INPUT);
}

uint32_t Session::advance(bool flush, size_t &coded) {
    std::vector<Planned> plan = order_.take(flush);
    // A temporal unit of AV1 shows one frame: its packets come in display order, B frames or not.
    if (codec_ == Codec::Av1) std::sort(plan.begin(), plan.end(), [](const Planned &a, const Planned &b) { return a.id < b.id; });
    for (const Planned &planned : plan) {
        if (const uint32_t status = code(planned)) return status;
        ++coded;
    }
    return 0;
}

int Session::quality(Type type) const {
    const int index = type == Type::P ? 0 : type == Type::B ? 1 : 2;
    const Rates &rates = config_.rates;
    if (rates.mode == NV_ENC_PARAMS_RC_CONSTQP) return rates.qp[index];
    int qp = rates.target_quality ? static_cast<int>(rates.target_quality) : 28;
    qp += type == Type::B ? 2 : type == Type::P ? 0 : -3;
    if (rates.min_qp_set) qp = std::max(qp, rates.min_qp[index]);
    if (rates.max_qp_set) qp = std::min(qp, rates.max_qp[index]);
    return std::max(0, qp);
}

uint32_t Session::code(const Planned &planned) {
    const char *call = "NvEncEncodePicture";
    const auto at = frames_.find(planned.id);
    const Frame frame = at->second;
    const Handle output_handle = queued_.front();
    queued_.erase(queued_.begin());
    frames_.erase(at);
    // The engine follows the stream that the client named, or the default one.
    standin_wait(context_, streams_[0]);
    Source source;
    const bool readable = source_of(frame, source, call);
    const auto input = inputs_.find(frame.pic.input);
    if (input != inputs_.end()) --input->second.in_flight;
    const auto mapping = mappings_.find(frame.pic.input);
    if (mapping != mappings_.end()) --mapping->second.in_flight;
    if (!readable) return refuse(NV_ENC_ERR_GENERIC, "the memory of the input was freed before it was coded");

    Coding coding;
    // For measurements of what is not the driver's: a coded picture that costs nothing repeats the key frame before it.
    const char *mode = standin_knob("CODING");
    coding.skip = mode && std::string(mode) == "skip" && codec_ != Codec::Av1 && planned.type != Type::Idr && planned.type != Type::I && key_;
    coding.picture = coding.skip ? key_
                                 : read_surface(source.data, source.format, source.pitch, source.height, source.chroma_offset, init_.width,
                                                init_.height, writer_->block(), config_.chroma, config_.depth ? config_.depth : 8);
    if (planned.type == Type::Idr) key_ = coding.picture;
    coding.type = planned.type;
    coding.reference = planned.reference;
    coding.poc = planned.poc;
    if (planned.type == Type::Idr) {
        since_idr_ = 0;
        shown_.clear();
        dropped_.clear();
    }
    coding.decode_index = since_idr_++;
    const bool asked = frame.pic.flags & NV_ENC_PIC_FLAG_OUTPUT_SPSPPS;
    coding.headers = asked || (planned.type == Type::Idr && !config_.no_headers && (config_.repeat_headers || !wrote_headers_));
    if (coding.headers) wrote_headers_ = true;
    coding.delimiter = config_.delimiter;
    coding.slice_mode = frame.pic.slice_update ? frame.pic.slice_mode : config_.slice_mode;
    coding.slice_data = frame.pic.slice_update ? frame.pic.slice_data : config_.slice_data;
    coding.qp = quality(planned.type);
    coding.sei = frame.pic.sei;
    if (config_.mastering) coding.mastering = frame.pic.mastering;
    if (config_.light) coding.light = frame.pic.light;
    coding.dropped = dropped_;
    dropped_.clear();
    // Intra refresh: a wave of intra columns, asked for once or periodic.
    if (frame.pic.refresh_frames) {
        refresh_total_ = refresh_left_ = frame.pic.refresh_frames;
    } else if (config_.intra_refresh && config_.interval <= 1 && refresh_left_ == 0 && config_.refresh_count && planned.type != Type::Idr) {
        if (refresh_wait_ == 0) {
            refresh_total_ = refresh_left_ = config_.refresh_count;
            refresh_wait_ = std::max(config_.refresh_period, config_.refresh_count + 1);
        }
    }
    if (refresh_wait_) --refresh_wait_;
    if (refresh_left_) {
        const unsigned across = coding.picture->width / writer_->block(), done = refresh_total_ - refresh_left_;
        coding.intra_from = across * done / refresh_total_;
        coding.intra_to = across * (done + 1) / refresh_total_;
        if (done == 0 && config_.recovery_point) coding.recovery_frames = static_cast<int>(refresh_total_);
        --refresh_left_;
    }

    Coded coded;
    std::string problem;
    if (!writer_->code(coding, coded, problem)) return refuse(NV_ENC_ERR_GENERIC, problem);
    if (planned.reference) shown_[frame.pic.timestamp] = planned.poc;

    Output &output = outputs_[output_handle];
    output.state = Output::Done;
    output.bytes = std::move(coded.bytes);
    Locked &result = output.result;
    result = Locked();
    result.frame_index = static_cast<uint32_t>(coded_++);
    result.display_index = frame.display;
    result.slices = init_.report_slices ? static_cast<uint32_t>(coded.slice_offsets.size()) : 0;
    if (init_.report_slices) result.offsets = coded.slice_offsets;
    result.size = static_cast<uint32_t>(output.bytes.size());
    result.type = coded.type == Type::Idr ? NV_ENC_PIC_TYPE_IDR
                  : coded.type == Type::I ? NV_ENC_PIC_TYPE_I
                  : coded.type == Type::B ? NV_ENC_PIC_TYPE_B
                                          : NV_ENC_PIC_TYPE_P;
    result.average_qp = static_cast<uint32_t>(coding.qp);
    result.intra = coded.intra_blocks;
    result.inter = coded.inter_blocks;
    result.timestamp = frame.pic.timestamp;
    result.duration = frame.pic.duration;
    result.long_term = frame.pic.mark_long_term;
    result.long_term_index = frame.pic.mark_long_term ? frame.pic.long_term_index : 0;
    result.long_term_bitmap = frame.pic.use_long_term ? frame.pic.long_term_bitmap : 0;
    const int strips = init_.split >= NV_ENC_SPLIT_TWO_FORCED_MODE && init_.split <= NV_ENC_SPLIT_FOUR_FORCED_MODE ? static_cast<int>(init_.split)
                       : init_.split == NV_ENC_SPLIT_AUTO_FORCED_MODE                                               ? device_->encoders
                                                                                                                    : 1;
    output.done_us = queue_picture(device_->ordinal, engine_, device_->encoders, strips) + static_cast<uint64_t>(standin_knob_int("LATENCY_US", 0));
    ready_.push_back(output_handle);
    changed_.notify_all();
    update();
    standin_log("standin.coded", "\"frame\":%u,\"display\":%u,\"type\":%u,\"bytes\":%u,\"pts\":%llu,\"device\":%d,\"engine\":%d,\"strips\":%d,\"encoder\":\"%p\"",
                result.frame_index, result.display_index, result.type, result.size, static_cast<unsigned long long>(result.timestamp), device_->ordinal, engine_, strips, self_);
    return 0;
}

uint32_t Session::lock_output(Locked &locked) {
    const char *call = "NvEncLockBitstream";
    auto it = outputs_.find(locked.output);
    if (it == outputs_.end()) return violate(NV_ENC_ERR_INVALID_PTR, "unknown-handle", call, "outputBitstream is no bitstream buffer");
    if (it->second.state == Output::Held) return violate(NV_ENC_ERR_INVALID_CALL, "locked-twice", call, "the bitstream buffer is locked already");
    if (it->second.state == Output::Free)
        return violate(NV_ENC_ERR_INVALID_PARAM, "lock-unused", call, "no picture was given with this bitstream buffer");
    if (it->second.state == Output::Queued) {
        if (locked.no_wait) return refuse(NV_ENC_ERR_LOCK_BUSY, "the picture is not coded yet");
        // A driver waits here, and whether that ends depends on another thread. Waiting is for clients that rely on it.
        if (!standin_knob_int("LOCK_WAITS", 0))
            return violate(NV_ENC_ERR_INVALID_CALL, "lock-before-coded", call, "the encoder asked for more input: waiting would last forever");
        const bool came = changed_.wait_for(mutex_, std::chrono::seconds(10), [&] {
            it = outputs_.find(locked.output);
            return it == outputs_.end() || it->second.state != Output::Queued;
        });
        if (!came || it == outputs_.end()) return violate(NV_ENC_ERR_INVALID_CALL, "lock-hang", call, "no input came for ten seconds");
    }
    Output &output = it->second;
    if (ready_.front() != locked.output)
        return violate(NV_ENC_ERR_INVALID_CALL, "lock-order", call, "bitstream buffers are to be locked in the order in which they were submitted");
    if (output.done_us > monotonic_us()) {
        if (locked.no_wait) return refuse(NV_ENC_ERR_LOCK_BUSY, "the picture is being coded");
        const uint64_t due = output.done_us;
        changed_.wait_for(mutex_, std::chrono::microseconds(due - monotonic_us()), [&] { return monotonic_us() >= due; });
    }
    // Pages of its own, which go away at unlock: a pointer kept for longer faults.
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    output.view_size = (output.bytes.size() + page) / page * page;
    void *view = mmap(nullptr, output.view_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (view == MAP_FAILED) return refuse(NV_ENC_ERR_OUT_OF_MEMORY, "mmap");
    memcpy(view, output.bytes.data(), output.bytes.size());
    output.view = view;
    ready_.erase(ready_.begin());
    output.state = Output::Held;
    const auto mapping = mappings_.find(output.input);
    if (mapping != mappings_.end() && mapping->second.unlocked) --mapping->second.unlocked;
    const bool stats = locked.rc_stats;
    locked = output.result;
    locked.rc_stats = stats;
    locked.data = view;
    return 0;
}

uint32_t Session::unlock_output(Handle handle) {
    const char *call = "NvEncUnlockBitstream";
    const auto it = outputs_.find(handle);
    if (it == outputs_.end()) return violate(NV_ENC_ERR_INVALID_PTR, "unknown-handle", call, "no such bitstream buffer");
    if (it->second.state != Output::Held) return violate(NV_ENC_ERR_INVALID_CALL, "not-locked", call, "the bitstream buffer is not locked");
    close_view(it->second);
    it->second.bytes.clear();
    it->second.state = Output::Free;
    return 0;
}

} // namespace standin
