namespace SafePool.ChaosTests.Faults;

/// <summary>Each piece of bytes comes later, in each direction.</summary>
internal sealed record Delayed(TimeSpan By) : Fault
{
    public override bool SilencesSessions => true;

    public override Task BeginAsync(Landscape landscape)
    {
        landscape.Proxy.Delay = By;
        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        landscape.Proxy.Delay = TimeSpan.Zero;
        return Task.CompletedTask;
    }
}

/// <summary>Connecting takes long; what is open is as fast as ever.</summary>
internal sealed record SlowConnects(TimeSpan By) : Fault
{
    public override Task BeginAsync(Landscape landscape)
    {
        landscape.Proxy.AcceptDelay = By;
        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        landscape.Proxy.AcceptDelay = TimeSpan.Zero;
        return Task.CompletedTask;
    }
}

/// <summary>Nothing passes and nothing breaks. Afterwards everything passes that has piled up.</summary>
internal sealed record Stalled : Fault
{
    public override bool SilencesSessions => true;

    public override Task BeginAsync(Landscape landscape)
    {
        landscape.Proxy.Stall();
        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        landscape.Proxy.Resume();
        return Task.CompletedTask;
    }
}

/// <summary>Nothing passes, and afterwards every connection is forgotten.</summary>
internal sealed record BlackHole : Fault
{
    public override bool SilencesSessions => true;

    public override Task BeginAsync(Landscape landscape)
    {
        landscape.Proxy.Stall();
        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        landscape.Proxy.ResetAll();
        landscape.Proxy.Resume();
        return Task.CompletedTask;
    }
}

/// <summary>New clients are accepted and hear nothing.</summary>
internal sealed record Silent : Fault
{
    public override Task BeginAsync(Landscape landscape)
    {
        landscape.Proxy.SilenceNew = true;
        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        landscape.Proxy.SilenceNew = false;
        return Task.CompletedTask;
    }
}

/// <summary>Nobody listens; with <paramref name="BreaksAll"/> what was open is gone as well.</summary>
internal sealed record Refused(bool BreaksAll) : Fault
{
    public override Task BeginAsync(Landscape landscape)
    {
        landscape.Proxy.RefuseNew = true;
        if (BreaksAll)
        {
            landscape.Proxy.ResetAll();
        }

        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        landscape.Proxy.RefuseNew = false;
        return Task.CompletedTask;
    }
}

/// <summary>Every connection ends at a byte, in whatever it is in the midst of; the first bytes are those of the handshake.</summary>
internal sealed record CutAtByte(int Byte, bool Politely) : Fault
{
    public override Task BeginAsync(Landscape landscape)
    {
        landscape.Proxy.CutAfter(Byte, Politely);
        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        landscape.Proxy.CutNothing();
        return Task.CompletedTask;
    }
}

/// <summary>All connections break at once: RST, or FIN.</summary>
internal sealed record AllBreak(bool Politely) : Fault
{
    public override Task BeginAsync(Landscape landscape)
    {
        if (Politely)
        {
            landscape.Proxy.CloseAll();
        }
        else
        {
            landscape.Proxy.ResetAll();
        }

        return Task.CompletedTask;
    }
}

/// <summary>One connection after the other breaks, drawn by lot.</summary>
internal sealed record SomeBreak(TimeSpan Every, int Seed) : Fault
{
    private volatile bool _isOver;
    private Task _running = Task.CompletedTask;

    public override Task BeginAsync(Landscape landscape)
    {
        _running = RunAsync(landscape);
        return Task.CompletedTask;
    }

    public override Task HealAsync(Landscape landscape)
    {
        _isOver = true;
        return _running;
    }

    private async Task RunAsync(Landscape landscape)
    {
        var random = new Random(Seed);
        while (!_isOver)
        {
            _ = random.Percent(50) ? landscape.Proxy.ResetOne(random) : landscape.Proxy.CloseOne(random);
            await Task.Delay(Every, TimeProvider.System);
        }
    }
}
