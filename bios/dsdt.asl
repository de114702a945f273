/* dsdt.asl - the differentiated system description table: what the operating system cannot find out by itself about a
 * 440FX + PIIX3/4 board. ACPI 1.0b (Windows 98 and 2000 read it too): nothing later is used, integers have 32 bits.
 *
 * The names in the first block are constants that bios/acpi.c overwrites in the compiled table, found by their name; the
 * values here only make sure that they are encoded as double words.
 */
DefinitionBlock ("", "DSDT", 1, "SHDW86", "SHADOW86", 1)
{
    Scope (\)
    {
        Name (PCIB, 0x80000000)         // PCI memory window: first byte
        Name (PCIE, 0xFEBFFFFF)         // last byte
        Name (COMP, 0x0F000000)         // serial ports that exist: bits 0..3 = COM1..COM4
        Name (PICM, 0)                  // _PIC argument; both modes use the same interrupt numbers

        Method (_PIC, 1, NotSerialized) { Store (Arg0, PICM) }

        // SLP_TYP values of the PIIX4 as the BIOS and emulators number them. No suspend to RAM.
        Name (_S0, Package (4) { 4, 4, 0, 0 })
        Name (_S4, Package (4) { 2, 2, 0, 0 })
        Name (_S5, Package (4) { 0, 0, 0, 0 })
    }

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_ADR, 0)
            Name (_UID, 0)

            Name (WIND, ResourceTemplate ()
            {
                WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, 0, 0xFF, 0, 0x100)
                IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0, 0x0CF7, 0, 0x0CF8)
                WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange, 0, 0x0D00, 0xFFFF, 0, 0xF300)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x000A0000, 0x000BFFFF, 0, 0x00020000)
                DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite,
                    0, 0x80000000, 0xFEBFFFFF, 0, 0x7EC00000, , , MEMW)
            })
            Method (_CRS, 0, Serialized)
            {
                CreateDWordField (WIND, ^MEMW._MIN, WMIN)
                CreateDWordField (WIND, ^MEMW._MAX, WMAX)
                CreateDWordField (WIND, ^MEMW._LEN, WLEN)
                Store (PCIB, WMIN)
                Store (PCIE, WMAX)
                Add (Subtract (PCIE, PCIB), 1, WLEN)
                Return (WIND)
            }

            // Slot s, pin p (0 = INTA#) is wired to PIRQ (s - 1 + p) mod 4. Slot 1 holds the PIIX, whose power management
            // function interrupts through the SCI.
            Method (_PRT, 0, NotSerialized)
            {
                Store (Package (128) {}, Local0)
                Store (0, Local1)
                While (LLess (Local1, 128))
                {
                    ShiftRight (Local1, 2, Local2)
                    And (Add (Add (Local1, Local2), 3), 3, Local3)
                    If (LEqual (Local3, 0)) { Store (Package (4) { 0, 0, LNKA, 0 }, Local4) }
                    If (LEqual (Local3, 1)) { Store (Package (4) { 0, 0, LNKB, 0 }, Local4) }
                    If (LEqual (Local3, 2)) { Store (Package (4) { 0, 0, LNKC, 0 }, Local4) }
                    If (LEqual (Local3, 3)) { Store (Package (4) { 0, 0, LNKD, 0 }, Local4) }
                    If (LEqual (Local1, 4)) { Store (Package (4) { 0, 0, LNKS, 0 }, Local4) }
                    Store (Or (ShiftLeft (Local2, 16), 0xFFFF), Index (Local4, 0))
                    Store (And (Local1, 3), Index (Local4, 1))
                    Store (Local4, Index (Local0, Local1))
                    Increment (Local1)
                }
                Return (Local0)
            }

            Device (ISA)                        // PIIX3 function 0
            {
                Name (_ADR, 0x00010000)
                OperationRegion (ROUT, PCI_Config, 0x60, 4)
                Field (ROUT, ByteAcc, NoLock, Preserve)
                {
                    PRQ0, 8,
                    PRQ1, 8,
                    PRQ2, 8,
                    PRQ3, 8
                }

                Device (RTC)
                {
                    Name (_HID, EisaId ("PNP0B00"))
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x70, 0x70, 1, 8)
                        IRQNoFlags () { 8 }
                    })
                }

                Device (KBD)
                {
                    Name (_HID, EisaId ("PNP0303"))
                    Method (_STA, 0, NotSerialized) { Return (0x0F) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x60, 0x60, 1, 1)
                        IO (Decode16, 0x64, 0x64, 1, 1)
                        IRQNoFlags () { 1 }
                    })
                }

                Device (MOU)
                {
                    Name (_HID, EisaId ("PNP0F13"))
                    Method (_STA, 0, NotSerialized) { Return (0x0F) }
                    Name (_CRS, ResourceTemplate () { IRQNoFlags () { 12 } })
                }

                Device (FDC0)
                {
                    Name (_HID, EisaId ("PNP0700"))
                    Method (_STA, 0, NotSerialized) { Return (0x0F) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03F2, 0x03F2, 1, 4)
                        IO (Decode16, 0x03F7, 0x03F7, 1, 1)
                        IRQNoFlags () { 6 }
                        DMA (Compatibility, NotBusMaster, Transfer8) { 2 }
                    })
                }

                Device (COM1)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 1)
                    Method (_STA, 0, NotSerialized) { If (And (COMP, 1)) { Return (0x0F) } Return (0) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03F8, 0x03F8, 1, 8)
                        IRQNoFlags () { 4 }
                    })
                }

                Device (COM2)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 2)
                    Method (_STA, 0, NotSerialized) { If (And (COMP, 2)) { Return (0x0F) } Return (0) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x02F8, 0x02F8, 1, 8)
                        IRQNoFlags () { 3 }
                    })
                }

                Device (COM3)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 3)
                    Method (_STA, 0, NotSerialized) { If (And (COMP, 4)) { Return (0x0F) } Return (0) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x03E8, 0x03E8, 1, 8)
                        IRQNoFlags () { 4 }
                    })
                }

                Device (COM4)
                {
                    Name (_HID, EisaId ("PNP0501"))
                    Name (_UID, 4)
                    Method (_STA, 0, NotSerialized) { If (And (COMP, 8)) { Return (0x0F) } Return (0) }
                    Name (_CRS, ResourceTemplate ()
                    {
                        IO (Decode16, 0x02E8, 0x02E8, 1, 8)
                        IRQNoFlags () { 3 }
                    })
                }

                Device (SPKR)
                {
                    Name (_HID, EisaId ("PNP0800"))
                    Name (_CRS, ResourceTemplate () { IO (Decode16, 0x61, 0x61, 1, 1) })
                }
            }

            Device (PM)                         // PIIX4 function 3
            {
                Name (_ADR, 0x00010003)
            }
        }

        // Ports of the power management function and of the firmware configuration device.
        Device (SYSR)
        {
            Name (_HID, EisaId ("PNP0C02"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x00B2, 0x00B2, 1, 2)
                IO (Decode16, 0x0600, 0x0600, 1, 0x40)
                IO (Decode16, 0x0700, 0x0700, 1, 0x10)
                IO (Decode16, 0xAFE0, 0xAFE0, 1, 4)
            })
        }

        Device (FWCF)
        {
            Name (_HID, "QEMU0002")
            Method (_STA, 0, NotSerialized) { Return (0x0B) }
            Name (_CRS, ResourceTemplate () { IO (Decode16, 0x0510, 0x0510, 1, 0x0C) })
        }

        Device (HPET)
        {
            Name (_HID, EisaId ("PNP0103"))
            Name (_UID, 0)
            Method (_STA, 0, NotSerialized) { Return (0x0F) }
            Name (_CRS, ResourceTemplate () { Memory32Fixed (ReadOnly, 0xFED00000, 0x00000400) })
        }

        // PIRQ routing: bit 7 of a route register disconnects, bits 3:0 name the interrupt.
        Method (LSTA, 1, NotSerialized)
        {
            If (And (Arg0, 0x80)) { Return (0x09) }
            Return (0x0B)
        }
        Name (BUFF, ResourceTemplate () { Interrupt (ResourceConsumer, Level, ActiveHigh, Shared, , , PIRQ) { 0 } })
        Method (LCRS, 1, Serialized)
        {
            CreateDWordField (BUFF, ^PIRQ._INT, PINT)
            If (LLess (Arg0, 0x80)) { Store (Arg0, PINT) }
            Else { Store (0, PINT) }
            Return (BUFF)
        }

        Device (LNKA)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 0)
            Name (_PRS, ResourceTemplate () { Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 } })
            Method (_STA, 0, NotSerialized) { Return (LSTA (^^PCI0.ISA.PRQ0)) }
            Method (_DIS, 0, NotSerialized) { Or (^^PCI0.ISA.PRQ0, 0x80, ^^PCI0.ISA.PRQ0) }
            Method (_CRS, 0, NotSerialized) { Return (LCRS (^^PCI0.ISA.PRQ0)) }
            Method (_SRS, 1, NotSerialized) { CreateDWordField (Arg0, 5, PINT) Store (PINT, ^^PCI0.ISA.PRQ0) }
        }
        Device (LNKB)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 1)
            Name (_PRS, ResourceTemplate () { Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 } })
            Method (_STA, 0, NotSerialized) { Return (LSTA (^^PCI0.ISA.PRQ1)) }
            Method (_DIS, 0, NotSerialized) { Or (^^PCI0.ISA.PRQ1, 0x80, ^^PCI0.ISA.PRQ1) }
            Method (_CRS, 0, NotSerialized) { Return (LCRS (^^PCI0.ISA.PRQ1)) }
            Method (_SRS, 1, NotSerialized) { CreateDWordField (Arg0, 5, PINT) Store (PINT, ^^PCI0.ISA.PRQ1) }
        }
        Device (LNKC)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 2)
            Name (_PRS, ResourceTemplate () { Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 } })
            Method (_STA, 0, NotSerialized) { Return (LSTA (^^PCI0.ISA.PRQ2)) }
            Method (_DIS, 0, NotSerialized) { Or (^^PCI0.ISA.PRQ2, 0x80, ^^PCI0.ISA.PRQ2) }
            Method (_CRS, 0, NotSerialized) { Return (LCRS (^^PCI0.ISA.PRQ2)) }
            Method (_SRS, 1, NotSerialized) { CreateDWordField (Arg0, 5, PINT) Store (PINT, ^^PCI0.ISA.PRQ2) }
        }
        Device (LNKD)
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 3)
            Name (_PRS, ResourceTemplate () { Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 5, 10, 11 } })
            Method (_STA, 0, NotSerialized) { Return (LSTA (^^PCI0.ISA.PRQ3)) }
            Method (_DIS, 0, NotSerialized) { Or (^^PCI0.ISA.PRQ3, 0x80, ^^PCI0.ISA.PRQ3) }
            Method (_CRS, 0, NotSerialized) { Return (LCRS (^^PCI0.ISA.PRQ3)) }
            Method (_SRS, 1, NotSerialized) { CreateDWordField (Arg0, 5, PINT) Store (PINT, ^^PCI0.ISA.PRQ3) }
        }
        Device (LNKS)                           // the SCI is wired to interrupt 9
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 4)
            Name (_PRS, ResourceTemplate () { Interrupt (ResourceConsumer, Level, ActiveHigh, Shared) { 9 } })
            Method (_STA, 0, NotSerialized) { Return (0x0B) }
            Method (_DIS, 0, NotSerialized) { }
            Method (_CRS, 0, NotSerialized) { Return (_PRS) }
            Method (_SRS, 1, NotSerialized) { }
        }
    }
}
