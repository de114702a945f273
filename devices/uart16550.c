/* uart16550.c - National Semiconductor PC16550D.
 *
 * Data sheet, 8.0 (registers) and 8.6 (FIFO operation). Transmission takes no time: a byte written to THR goes to the
 * host at once and THRE stays set, the interrupt for it being raised again by every write. Received bytes come as
 * fast as the guest reads them, since the host end asks how many fit; the character time-out uses the programmed
 * speed. In loopback the modem outputs come back as inputs and bytes sent are received. Break from the host end is a
 * zero byte with BI.
 */
#include "devices/uart16550.h"

#include <stdio.h>

enum { REG_DATA, REG_IER, REG_IIR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };
enum { IER_DATA = 1, IER_THRE = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { IIR_NONE = 1, IIR_LINE = 6, IIR_DATA = 4, IIR_TIMEOUT = 12, IIR_THRE = 2, IIR_MODEM = 0, IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_KEPT = 0xc9 };
enum { LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16, MCR_BITS = 31 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_PE = 4, LSR_FE = 8, LSR_BI = 16, LSR_THRE = 32, LSR_TEMT = 64, LSR_FIFO_ERROR = 128,
       LSR_ERRORS = LSR_OE | LSR_PE | LSR_FE | LSR_BI };
enum { MSR_DCTS = 1, MSR_DDSR = 2, MSR_TERI = 4, MSR_DDCD = 8, MSR_CTS = 16, MSR_DSR = 32, MSR_RI = 64, MSR_DCD = 128 };
#define CLOCK_HZ 115200u        /* baud rate at divisor 1 */

static bool fifo_on(const struct uart16550 *u) { return u->fcr & FCR_ENABLE; }
static unsigned depth(const struct uart16550 *u) { return fifo_on(u) ? UART16550_FIFO : 1; }

static unsigned trigger(const struct uart16550 *u)
{
    static const u8 levels[] = { 1, 4, 8, 14 };
    return fifo_on(u) ? levels[u->fcr >> 6] : 1;
}

/* The interrupt with the highest priority, as IIR shows it. */
static u8 cause(const struct uart16550 *u)
{
    if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS))
        return IIR_LINE;
    if ((u->ier & IER_DATA) && u->rx_count >= trigger(u))
        return IIR_DATA;
    if ((u->ier & IER_DATA) && u->timeout && fifo_on(u))
        return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MODEM) && (u->msr & 15))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update(struct uart16550 *u)
{
    /* OUT2 gates the interrupt on PC adapters; in loopback it is cut off from the pin. */
    irq_set(u->irq, cause(u) != IIR_NONE && (u->mcr & MCR_OUT2) && !(u->mcr & MCR_LOOP));
}

/* ----------------------------------------------------------------------------------------------- receiving ----- */

static u64 character_ns(const struct uart16550 *u)
{
    unsigned bits = 1 + 5 + (u->lcr & 3) + (u->lcr & 8 ? 1 : 0) + (u->lcr & 4 ? 2 : 1);
    return ticks_to_ns((u64)bits * (u->divisor ? u->divisor : 0x10000), CLOCK_HZ);
}

static void timeout_start(struct uart16550 *u)
{
    u->timeout = false;
    timer_set(&u->timeout_timer, u->rx_count && fifo_on(u) ? clock_now(u->dev.clock) + 4 * character_ns(u) :
        TIMER_NEVER);
}

static void timeout_fire(void *ctx)
{
    struct uart16550 *u = ctx;
    u->timeout = u->rx_count > 0;
    update(u);
}

/* Errors belong to the byte at the top of the FIFO; they show when it gets there. */
static void show_top(struct uart16550 *u)
{
    u->lsr &= (u8)~(LSR_DR | LSR_FIFO_ERROR);
    if (!u->rx_count)
        return;
    u->lsr |= LSR_DR | u->rx_errors[u->rx_head];
    for (unsigned i = 0; i < u->rx_count && fifo_on(u); i++)
        if (u->rx_errors[(u->rx_head + i) % UART16550_FIFO])
            u->lsr |= LSR_FIFO_ERROR;
}

static void receive_byte(struct uart16550 *u, u8 v, u8 errors)
{
    if (u->rx_count == depth(u)) {
        u->lsr |= LSR_OE;
        if (fifo_on(u))
            return;                     /* the byte in the shift register is overwritten; the FIFO stays */
        u->rx_count = 0;
    }
    unsigned at = (u->rx_head + u->rx_count++) % UART16550_FIFO;
    u->rx[at] = v;
    u->rx_errors[at] = errors;
    show_top(u);
    timeout_start(u);
}

static unsigned can_receive(void *ctx)
{
    struct uart16550 *u = ctx;
    return u->mcr & MCR_LOOP ? 0 : depth(u) - u->rx_count;
}

static void receive(void *ctx, const u8 *buf, unsigned n)
{
    struct uart16550 *u = ctx;
    for (unsigned i = 0; i < n; i++)
        receive_byte(u, buf[i], 0);
    update(u);
}

static void receive_break(void *ctx)
{
    struct uart16550 *u = ctx;
    if (!(u->mcr & MCR_LOOP))
        receive_byte(u, 0, LSR_BI);
    update(u);
}

static u8 rbr_read(struct uart16550 *u)
{
    if (u->rx_count) {
        u->shown = u->rx[u->rx_head];
        u->rx_head = (u->rx_head + 1) % UART16550_FIFO;
        u->rx_count--;
        show_top(u);
        timeout_start(u);
        update(u);
        if (u->line && !(u->mcr & MCR_LOOP))
            chardev_accept_input(u->line);
    }
    return u->shown;
}

static void rx_clear(struct uart16550 *u)
{
    u->rx_count = 0;
    show_top(u);
    timeout_start(u);
}

/* ---------------------------------------------------------------------------------------------- modem and speed
 * ----- */

static void thr_write(struct uart16550 *u, u8 v)
{
    if (u->mcr & MCR_LOOP)
        receive_byte(u, v, 0);
    else if (u->line)
        chardev_write(u->line, &v, 1);
    u->thre_pending = true;             /* empty again at once */
    update(u);
}

/* Inputs: from a host end that is always there, or the outputs in loopback. */
static void modem_update(struct uart16550 *u)
{
    u8 now = u->line ? MSR_CTS | MSR_DSR | MSR_DCD : 0, old = u->msr;
    if (u->mcr & MCR_LOOP)
        now = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) | (u->mcr & MCR_OUT1 ? MSR_RI : 0) |
              (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
    u8 changed = (old ^ now) >> 4;
    /* TERI: trailing edge */
    u8 delta = (changed & (MSR_DCTS | MSR_DDSR | MSR_DDCD)) | ((old & ~now & MSR_RI) >> 4);
    u->msr = now | (old & 15) | delta;
    update(u);
}

static void mcr_write(struct uart16550 *u, u8 v)
{
    bool left_loop = (u->mcr & MCR_LOOP) && !(v & MCR_LOOP);
    u->mcr = v & MCR_BITS;
    modem_update(u);
    if (left_loop && u->line)
        chardev_accept_input(u->line);
}

static void fcr_write(struct uart16550 *u, u8 v)
{
    if ((u->fcr ^ v) & FCR_ENABLE || (v & FCR_CLEAR_RX && v & FCR_ENABLE))     /* switching clears both FIFOs */
        rx_clear(u);
    if ((u->fcr ^ v) & FCR_ENABLE || (v & FCR_CLEAR_TX && v & FCR_ENABLE))
        u->thre_pending = true;
    u->fcr = v & FCR_ENABLE ? v & FCR_KEPT : 0;
    update(u);
    if (u->line)
        chardev_accept_input(u->line);
}

static void lcr_write(struct uart16550 *u, u8 v)
{
    bool break_begins = (v & LCR_BREAK) && !(u->lcr & LCR_BREAK);
    u->lcr = v;
    if (break_begins && (u->mcr & MCR_LOOP))
        receive_byte(u, 0, LSR_BI);
    update(u);
}

static void ier_write(struct uart16550 *u, u8 v)
{
    if ((v & IER_THRE) && !(u->ier & IER_THRE))     /* enabling it with an empty transmitter interrupts at once */
        u->thre_pending = true;
    u->ier = v & 15;
    update(u);
}

/* ----------------------------------------------------------------------------------------------- registers ----- */

static u8 iir_read(struct uart16550 *u)
{
    u8 v = cause(u);
    if (v == IIR_THRE) {
        u->thre_pending = false;
        update(u);
    }
    return v | (fifo_on(u) ? IIR_FIFO : 0);
}

static u32 uart_read(struct device *d, unsigned region, u32 reg, unsigned bytes)
{
    struct uart16550 *u = (struct uart16550 *)d;
    u8 v;
    switch (reg) {
    case REG_DATA: return u->lcr & LCR_DLAB ? u->divisor & 0xff : rbr_read(u);
    case REG_IER: return u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
    case REG_IIR: return iir_read(u);
    case REG_LCR: return u->lcr;
    case REG_MCR: return u->mcr;
    case REG_LSR:
        v = u->lsr | LSR_THRE | LSR_TEMT;
        u->lsr &= (u8)~LSR_ERRORS;
        if (u->rx_count)
            u->rx_errors[u->rx_head] = 0;
        show_top(u);
        update(u);
        return v;
    case REG_MSR:
        v = u->msr;
        u->msr &= 0xf0;
        update(u);
        return v;
    default: return u->scr;
    }
}

static void uart_write(struct device *d, unsigned region, u32 reg, unsigned bytes, u32 value)
{
    struct uart16550 *u = (struct uart16550 *)d;
    u8 v = (u8)value;
    switch (reg) {
    case REG_DATA:
        if (u->lcr & LCR_DLAB)
            u->divisor = (u16)((u->divisor & 0xff00) | v);
        else
            thr_write(u, v);
        break;
    case REG_IER:
        if (u->lcr & LCR_DLAB)
            u->divisor = (u16)((u->divisor & 0xff) | v << 8);
        else
            ier_write(u, v);
        break;
    case REG_IIR: fcr_write(u, v); break;
    case REG_LCR: lcr_write(u, v); break;
    case REG_MCR: mcr_write(u, v); break;
    case REG_LSR: case REG_MSR: break;      /* factory test, read only */
    default: u->scr = v;
    }
}

static bool uart_init(struct device *d, char *err, size_t errlen)
{
    struct uart16550 *u = (struct uart16550 *)d;
    timer_init(&u->timeout_timer, d->clock, timeout_fire, u);
    if (u->line) {
        struct chardev_user user = { can_receive, receive, receive_break, u };
        chardev_attach(u->line, &user);
    }
    return true;
}

static void uart_reset(struct device *d)
{
    struct uart16550 *u = (struct uart16550 *)d;
    u->ier = u->fcr = u->lcr = u->mcr = u->lsr = u->msr = u->scr = u->shown = 0;
    u->divisor = 12;
    u->rx_head = u->rx_count = 0;
    u->thre_pending = u->timeout = false;
    timer_cancel(&u->timeout_timer);
    modem_update(u);
    u->msr &= 0xf0;
    update(u);
}

static void uart_print(struct device *d, void (*out)(const char *line, void *ctx), void *ctx)
{
    struct uart16550 *u = (struct uart16550 *)d;
    char line[128];
    snprintf(line, sizeof line, "%u baud ier %02x iir %02x fcr %02x lcr %02x mcr %02x lsr %02x msr %02x received %u",
             u->divisor ? CLOCK_HZ / u->divisor : 0, u->ier, cause(u), u->fcr, u->lcr, u->mcr, u->lsr, u->msr,
             u->rx_count);
    out(line, ctx);
}

const struct device_class uart16550_class = {
    .name = "uart16550", .size = sizeof(struct uart16550), .init = uart_init, .reset = uart_reset, .read = uart_read,
    .write = uart_write, .byte_wide = true, .print = uart_print,
};
