using System.Diagnostics;
using System.Globalization;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Outages;

/// <summary>A process of its own that is stopped (SIGSTOP), and goes on in a world that did not wait for it.</summary>
[Collection(nameof(Alone))]
public sealed class FrozenProcessTests : IAsyncLifetime
{
    private TcpProxy _proxy = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _proxy = TcpProxy.Start(await Outside.SharedServerAsync());

    public ValueTask DisposeAsync() => _proxy.DisposeAsync();

    [Fact]
    public async Task StoppedForTenSeconds_TheCircuitStaysClosedTheRentIsServedAndNoLeaseIsOverdue()
    {
        using var process = await StartAsync();
        await using var registration = Cancellation.Register(process.Kill);
        Assert.Equal("leased", await SaidAsync(process));
        _proxy.AcceptDelay = TimeSpan.FromSeconds(1);
        await process.StandardInput.WriteLineAsync();
        await Eventually.True(() => _proxy.Connecting == 1, "an open is under way");

        await SignalAsync("STOP", process);
        await OutageKit.PassAsync(TimeSpan.FromSeconds(10), Cancellation);

        // What was under way Npgsql gives up, in whose time ten seconds have passed; the rent has three more seconds for another.
        _proxy.AcceptDelay = TimeSpan.Zero;
        await SignalAsync("CONT", process);

        var said = await process.StandardOutput.ReadToEndAsync(Cancellation);
        Assert.Contains("served", said, StringComparison.Ordinal);
        Assert.Contains("circuit Closed", said, StringComparison.Ordinal);
        Assert.DoesNotContain("log 128:", said, StringComparison.Ordinal);
        Assert.DoesNotContain("log 100:", said, StringComparison.Ordinal);
        await process.WaitForExitAsync(Cancellation);
        Assert.Equal(0, process.ExitCode);
    }

    [Theory]
    [InlineData(1, "idle")]
    [InlineData(4, "idle")]
    [InlineData(4, "held")]
    public async Task StoppedWhileItsSessionsEnd_TheFirstRequestsAreServed(int connections, string meanwhile)
    {
        var name = $"frozen {Guid.NewGuid():N}";
        using var process = await (meanwhile == "idle" ? StartAsync(name, $"{connections}") : StartAsync(name, $"{connections}", meanwhile));
        await using var registration = Cancellation.Register(process.Kill);
        Assert.Equal(meanwhile, await SaidAsync(process));

        await SignalAsync("STOP", process);
        var outside = await Outside.OfSharedServerAsync();
        Assert.Equal(connections, await outside.AskAsync<long>(
            $"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{name}'"));
        await OutageKit.PassAsync(TimeSpan.FromSeconds(1.5), Cancellation);
        if (meanwhile == "idle")
        {
            await process.StandardInput.WriteLineAsync();
            await SignalAsync("CONT", process);
        }
        else
        {
            // The timer notices before any lease comes back.
            await SignalAsync("CONT", process);
            await OutageKit.PassAsync(TimeSpan.FromSeconds(1), Cancellation);
            await process.StandardInput.WriteLineAsync();
        }

        Assert.Equal("served", await SaidAsync(process));
        await process.WaitForExitAsync(Cancellation);
        Assert.Equal(0, process.ExitCode);
    }

    /// <summary>The next line that is not of the log.</summary>
    private static async Task<string?> SaidAsync(Process process)
    {
        string? line;
        do
        {
            line = await process.StandardOutput.ReadLineAsync(Cancellation);
        }
        while (line?.StartsWith("log ", StringComparison.Ordinal) == true);
        return line;
    }

    private static async Task SignalAsync(string signal, Process process)
    {
        using var kill = Process.Start("kill", [$"-{signal}", process.Id.ToString(CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync(Cancellation);
        Assert.Equal(0, kill.ExitCode);
    }

    private async Task<Process> StartAsync(string applicationName = "frozen", params string[] arguments)
    {
        const string Name = "SafePool.FrozenProcess";
        var program = Path.Combine(AppContext.BaseDirectory.Replace("SafePool.Tests", Name, StringComparison.Ordinal), $"{Name}.dll");
        var connectionString = $"{_proxy.ConnectionString(await Outside.SharedServerAsync())};Application Name={applicationName}";
        var start = new ProcessStartInfo("dotnet", ["exec", program, connectionString, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        return Process.Start(start)!;
    }
}
