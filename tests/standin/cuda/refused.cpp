// Entry points that clients resolve when they load the library, and that answer what a driver answers where the thing is
// not there: no OpenGL context, no EGL, no external memory, no graphs. Nothing here pretends to succeed.
#include "cuda/state.h"

#define REFUSED(name, status)                                                                                                   \
    API CUresult name(void) {                                                                                                   \
        return enter(#name, Need::Nothing, [](Call &) { return status; });                                                      \
    }

REFUSED(cuGLGetDevices_v2, CUDA_ERROR_INVALID_GRAPHICS_CONTEXT)
REFUSED(cuGraphicsGLRegisterBuffer, CUDA_ERROR_INVALID_GRAPHICS_CONTEXT)
REFUSED(cuGraphicsEGLRegisterImage, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuGraphicsResourceSetMapFlags_v2, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuGraphicsResourceGetMappedPointer_v2, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuGraphicsResourceGetMappedEglFrame, CUDA_ERROR_INVALID_HANDLE)

REFUSED(cuEGLStreamProducerConnect, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuEGLStreamProducerDisconnect, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuEGLStreamConsumerDisconnect, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuEGLStreamProducerPresentFrame, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuEGLStreamProducerReturnFrame, CUDA_ERROR_NOT_SUPPORTED)

REFUSED(cuImportExternalMemory, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuDestroyExternalMemory, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuExternalMemoryGetMappedBuffer, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuExternalMemoryGetMappedMipmappedArray, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuMipmappedArrayGetLevel, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuMipmappedArrayDestroy, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuImportExternalSemaphore, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuDestroyExternalSemaphore, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuSignalExternalSemaphoresAsync, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuWaitExternalSemaphoresAsync, CUDA_ERROR_INVALID_HANDLE)

REFUSED(cuArrayGetPlane, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuDeviceGetLuid, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuTexObjectCreate, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuTexObjectDestroy, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuTexRefCreate, CUDA_ERROR_NOT_SUPPORTED)

REFUSED(cuLinkCreate_v2, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuLinkCreate, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuLinkAddData_v2, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuLinkAddData, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuLinkComplete, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuLinkDestroy, CUDA_ERROR_INVALID_HANDLE)

REFUSED(cuLaunchCooperativeKernel, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuStreamBeginCapture_v2, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuStreamEndCapture, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuStreamAttachMemAsync, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuGraphInstantiateWithFlags, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuGraphLaunch, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuGraphUpload, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuGraphExecDestroy, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuGraphDestroy, CUDA_ERROR_INVALID_HANDLE)

REFUSED(cuMemAdvise, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuMemAdvise_v2, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuMemPrefetchAsync, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuMemPrefetchAsync_v2, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuDeviceGetDefaultMemPool, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuDeviceGetMemPool, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuDeviceSetMemPool, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuMemPoolCreate, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuMemPoolDestroy, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuMemPoolGetAttribute, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuMemPoolSetAttribute, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuMemPoolTrimTo, CUDA_ERROR_INVALID_HANDLE)
REFUSED(cuMemAllocFromPoolAsync, CUDA_ERROR_NOT_SUPPORTED)

REFUSED(cuProfilerStart, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuProfilerStop, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuMemcpy3D_v2, CUDA_ERROR_NOT_SUPPORTED)
REFUSED(cuMemcpy3DAsync_v2, CUDA_ERROR_NOT_SUPPORTED)
