/* i8259.c - two 8259A programmable interrupt controllers in cascade, with the PIIX3's edge/level registers.
 *
 * Intel 8259A data sheet; PIIX3 data sheet 3.5 (ELCR). Priorities are computed, not stored: the input after `lowest` is
 * the highest. Edge-triggered inputs set IRR on a rising edge and lose it when the input falls before the
 * acknowledge, which is what makes the default vectors (input 7 of the chip that finds nothing) appear.
 *
 * Left out: 8080 mode (CALL instructions; ICW4.uPM = 0 vectors are formed as in 8086 mode) and buffered mode's SP/EN
 * pin, which has no effect on a PC.
 */
#include "devices/i8259.h"

#include <stdio.h>

enum { ICW1_INIT = 0x10, ICW1_SNGL = 0x02, ICW1_IC4 = 0x01 };
enum { ICW4_SFNM = 0x10, ICW4_AEOI = 0x02 };
enum { OCW3 = 0x08, OCW3_ESMM = 0x40, OCW3_SMM = 0x20, OCW3_POLL = 0x04, OCW3_RR = 0x02, OCW3_RIS = 0x01 };
enum { CASCADE_INPUT = 2, DEFAULT_INPUT = 7, NONE = 8 };

/* Input with the highest priority in `set`, NONE if empty. */
static unsigned highest(const struct i8259_chip *c, u8 set)
{
    for (unsigned i = 1; i <= 8; i++) {
        unsigned n = (c->lowest + i) & 7;
        if (set >> n & 1)
            return n;
    }
    return NONE;
}

static unsigned rank(const struct i8259_chip *c, unsigned input)    /* 0 is served first; NONE comes last */
{
    return input == NONE ? 8 : (input - c->lowest - 1) & 7;
}

/* The input that the chip asks for now, NONE if none. Inputs in service hold back their own and lower priorities; in
 * the special mask mode only themselves; in the special fully nested mode a slave's input does not hold back itself. */
static unsigned request(const struct i8259_chip *c)
{
    u8 wanted = c->irr & ~c->imr;
    if (!wanted)
        return NONE;
    if (c->special_mask)
        return highest(c, wanted & ~(c->isr & ~c->imr));
    unsigned input = highest(c, wanted), serving = highest(c, c->isr);
    bool again = (c->icw4 & ICW4_SFNM) && input == serving && (c->cascade >> input & 1);
    return rank(c, input) < rank(c, serving) || again ? input : NONE;
}

static bool is_level(const struct i8259_chip *c, unsigned input)
{
    return c->elcr >> input & 1;       /* ICW1.LTIM has no effect in a PIIX3: ELCR replaces it */
}

static void input_set(struct i8259_chip *c, unsigned input, bool level)
{
    u8 bit = (u8)(1u << input);
    bool was = c->lines & bit;
    c->lines = (u8)(level ? c->lines | bit : c->lines & ~bit);
    if (!level)
        c->irr &= (u8)~bit;
    else if (is_level(c, input) || !was)
        c->irr |= bit;
}

/* Carries the slave's output to the master, and the master's to the CPU. */
static void update(struct i8259 *p)
{
    bool slave = request(&p->chip[1]) != NONE;
    if (slave != (p->chip[0].lines >> CASCADE_INPUT & 1))
        input_set(&p->chip[0], CASCADE_INPUT, slave);
    irq_set(p->intr, i8259_intr(p));
}

void i8259_set(struct i8259 *p, unsigned line, bool level)
{
    if (line == CASCADE_INPUT)      /* driven by the slave alone */
        return;
    input_set(&p->chip[line >> 3 & 1], line & 7, level);
    update(p);
}

bool i8259_intr(const struct i8259 *p)
{
    return request(&p->chip[0]) != NONE;
}

bool i8259_waiting(const struct i8259 *p, unsigned line)
{
    const struct i8259_chip *c = &p->chip[line >> 3 & 1];
    return (c->irr & ~c->imr) >> (line & 7) & 1;
}

static void eoi_rotate(struct i8259_chip *c, unsigned input, bool rotate)
{
    if (input == NONE)
        return;
    c->isr &= (u8)~(1u << input);
    if (rotate)
        c->lowest = (u8)input;
}

/* First INTA: the request goes into service. */
static unsigned acknowledge(struct i8259_chip *c)
{
    unsigned input = request(c);
    if (input == NONE)
        return NONE;
    c->isr |= (u8)(1u << input);
    if (!is_level(c, input))
        c->irr &= (u8)~(1u << input);
    if (c->icw4 & ICW4_AEOI)
        eoi_rotate(c, input, c->rotate_aeoi);
    return input;
}

u8 i8259_ack(struct i8259 *p)
{
    struct i8259_chip *master = &p->chip[0], *slave = &p->chip[1];
    unsigned input = acknowledge(master);
    u8 vector = master->vector | (input == NONE ? DEFAULT_INPUT : input);
    if (input == CASCADE_INPUT && !master->single) {
        unsigned second = acknowledge(slave);
        vector = slave->vector | (second == NONE ? DEFAULT_INPUT : second);
        /* The slave's output drops with INTA; a further request of it must be a new edge for the master. */
        input_set(master, CASCADE_INPUT, false);
    }
    update(p);
    return vector;
}

/* ------------------------------------------------------------------------------------------------- registers ----- */

static void write_icw1(struct i8259_chip *c, u8 v)
{
    c->imr = c->isr = 0;
    c->lowest = 7;
    c->special_mask = c->read_isr = c->poll = c->rotate_aeoi = false;
    c->single = v & ICW1_SNGL;
    c->needs_icw4 = v & ICW1_IC4;
    if (!c->needs_icw4)
        c->icw4 = 0;
    c->icw_step = 2;
    /* The edge sense circuits are reset: an input that is high must fall and rise again to be seen. */
    c->irr = 0;
    for (unsigned i = 0; i < 8; i++)
        if (is_level(c, i))
            c->irr |= c->lines & (u8)(1u << i);
}

/* OCW2: EOI commands and rotation. R SL EOI in bits 7:5. */
static void write_ocw2(struct i8259_chip *c, u8 v)
{
    unsigned level = v & 7;
    u8 open = c->special_mask ? c->isr & ~c->imr : c->isr;      /* masked inputs are not EOIed in special mask mode */
    switch (v >> 5) {
    case 0: c->rotate_aeoi = false; break;                      /* rotate in automatic EOI mode: clear */
    case 1: eoi_rotate(c, highest(c, open), false); break;      /* non-specific EOI */
    case 2: break;                                              /* no operation */
    case 3: c->isr &= (u8)~(1u << level); break;                /* specific EOI */
    case 4: c->rotate_aeoi = true; break;
    case 5: eoi_rotate(c, highest(c, open), true); break;       /* rotate on non-specific EOI */
    case 6: c->lowest = (u8)level; break;                       /* set priority */
    case 7: eoi_rotate(c, level, true); break;                  /* rotate on specific EOI */
    }
}

static void write_ocw3(struct i8259_chip *c, u8 v)
{
    if (v & OCW3_ESMM)
        c->special_mask = v & OCW3_SMM;
    if (v & OCW3_POLL)
        c->poll = true;
    else if (v & OCW3_RR)
        c->read_isr = v & OCW3_RIS;
}

static void write_odd(struct i8259_chip *c, u8 v)
{
    switch (c->icw_step) {
    case 2:
        c->vector = v & 0xf8;
        c->icw_step = !c->single ? 3 : c->needs_icw4 ? 4 : 0;
        break;
    case 3:
        c->cascade = v;
        c->icw_step = c->needs_icw4 ? 4 : 0;
        break;
    case 4:
        c->icw4 = v;
        c->icw_step = 0;
        break;
    default:
        c->imr = v;
    }
}

static u8 read_poll(struct i8259 *p, struct i8259_chip *c)
{
    c->poll = false;
    unsigned input = acknowledge(c);
    if (c == &p->chip[0] && input == CASCADE_INPUT)
        input_set(c, CASCADE_INPUT, false);
    update(p);
    return input == NONE ? 0 : (u8)(0x80 | input);
}

static u32 pic_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct i8259 *p = (struct i8259 *)d;
    if (region == I8259_REGION_ELCR)
        return p->chip[reg].elcr;
    struct i8259_chip *c = &p->chip[region];
    if (c->poll)
        return read_poll(p, c);
    if (reg)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static void pic_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct i8259 *p = (struct i8259 *)d;
    u8 v = (u8)value;
    if (region == I8259_REGION_ELCR) {
        struct i8259_chip *c = &p->chip[reg];
        c->elcr = v & c->elcr_mask;
        c->irr = (u8)((c->irr & ~c->elcr) | (c->lines & c->elcr));
    } else if (reg) {
        write_odd(&p->chip[region], v);
    } else if (v & ICW1_INIT) {
        write_icw1(&p->chip[region], v);
    } else if (v & OCW3) {
        write_ocw3(&p->chip[region], v);
    } else {
        write_ocw2(&p->chip[region], v);
    }
    update(p);
}

static void pic_reset(struct device *d)
{
    struct i8259 *p = (struct i8259 *)d;
    for (unsigned i = 0; i < 2; i++) {
        u8 lines = p->chip[i].lines;
        p->chip[i] = (struct i8259_chip){ .lines = lines, .lowest = 7 };
    }
    p->chip[0].elcr_mask = 0xf8;        /* timer, keyboard, cascade stay edge-triggered */
    p->chip[1].elcr_mask = 0xde;        /* and the RTC, the FPU */
    update(p);
}

static void pic_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct i8259 *p = (struct i8259 *)d;
    char line[128];
    for (unsigned i = 0; i < 2; i++) {
        const struct i8259_chip *c = &p->chip[i];
        snprintf(line, sizeof line,
                 "pic%u: irr=%02x imr=%02x isr=%02x lines=%02x elcr=%02x vector=%02x lowest=%u%s%s", i,
                 c->irr, c->imr, c->isr, c->lines, c->elcr, c->vector, c->lowest,
                 c->special_mask ? " special-mask" : "", c->icw4 & ICW4_AEOI ? " auto-eoi" : "");
        out(line, ctx);
    }
}

const struct device_class i8259_class = {
    .name = "i8259", .size = sizeof(struct i8259), .reset = pic_reset, .read = pic_read, .write = pic_write,
    .byte_wide = true, .print = pic_print,
};
