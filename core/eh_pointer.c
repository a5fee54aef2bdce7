/* eh_pointer.c: encoded pointers of exception tables. SPDX-License-Identifier: MIT */
#include "core/eh_pointer.h"

uint32_t eh_pointer_size(uint8_t encoding)
{
    switch (encoding & EH_FORM_MASK) {
    case EH_UDATA2:
    case EH_SDATA2:
        return 2;
    case EH_UDATA4:
    case EH_SDATA4:
        return 4;
    case EH_ABSPTR:
    case EH_UDATA8:
    case EH_SDATA8:
        return 8;
    default:
        return 0;
    }
}

uint64_t eh_value_read(Cursor *cursor, uint8_t encoding)
{
    switch (encoding & EH_FORM_MASK) {
    case EH_ULEB128:
        return cursor_uleb(cursor);
    case EH_SLEB128:
        return (uint64_t)cursor_sleb(cursor);
    case EH_UDATA2:
        return cursor_u16(cursor);
    case EH_SDATA2:
        return (uint64_t)(int16_t)cursor_u16(cursor);
    case EH_UDATA4:
        return cursor_u32(cursor);
    case EH_SDATA4:
        return (uint64_t)(int32_t)cursor_u32(cursor);
    case EH_ABSPTR:
    case EH_UDATA8:
    case EH_SDATA8:
        return cursor_u64(cursor);
    default:
        cursor->bad = true;
        return 0;
    }
}

static bool form_known(uint8_t encoding)
{
    uint8_t form = encoding & EH_FORM_MASK;
    return eh_pointer_size(encoding) != 0 || form == EH_ULEB128 || form == EH_SLEB128;
}

Status eh_pointer_read(const Image *image, Cursor *cursor, Vaddr base, Vaddr data, uint8_t encoding,
                       EhPointer *out, Error *err)
{
    uint64_t bias = 0;
    *out = (EhPointer){ VADDR_NONE, vaddr_add(base, cursor->at), true };
    switch (encoding & EH_BASE_MASK) {
    case 0:
        break;
    case EH_PCREL:
        bias = out->at.v;
        break;
    case EH_DATAREL:
        bias = data.v;
        break;
    case EH_ALIGNED:
        cursor_skip(cursor, -out->at.v & 7);
        out->at = vaddr_add(base, cursor->at);
        break;
    default:
        return FAIL(err, ST_REFUSED, image_place(image, out->at),
                    "pointer encoding 0x%02x adds a base that is not known", encoding);
    }
    if (!form_known(encoding) || encoding == EH_OMIT)
        return FAIL(err, ST_REFUSED, image_place(image, out->at),
                    "pointer encoding 0x%02x is not known", encoding);
    if ((encoding & EH_BASE_MASK) == EH_DATAREL && vaddr_is_none(data))
        return FAIL(err, ST_REFUSED, image_place(image, out->at),
                    "pointer encoding 0x%02x counts from a data base outside .eh_frame_hdr",
                    encoding);

    uint64_t value = eh_value_read(cursor, encoding);
    if (cursor->bad || value == 0)
        return ST_OK;
    out->is_null = false;
    out->to = vaddr(bias + value);
    return ST_OK;
}

bool eh_pcrel4_put(Buffer *out, uint64_t at, uint64_t to)
{
    int64_t distance = (int64_t)(to - at);
    buffer_u32(out, (uint32_t)distance);
    return distance == (int32_t)distance;
}
