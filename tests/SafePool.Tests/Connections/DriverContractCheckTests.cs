using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.Driver.Contract;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Connections;

/// <summary>A driver that does not do what the pool takes for granted is named, once, before it misbehaves.</summary>
public sealed class DriverContractCheckTests : IDisposable
{
    private const int DriverIsUnknown = 190;

    private readonly LogCollector _logs = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private ILogger Logger => _logs.CreateLogger("SafePool");

    public void Dispose() => _logs.Dispose();

    /// <summary>Names the real driver's faults here too, when the tests run with a version that has some.</summary>
    [Fact]
    public async Task CreateAPool_WithTheDriverOfThisProcess_HasLookedAndEverythingHolds()
    {
        await using (ConnectionPool.Create("Host=127.0.0.1;Port=1;Username=nobody"))
        {
            await DriverContractCheck.OfProcess.Finished.WaitAsync(TimeSpan.FromSeconds(10), Cancellation);
        }

        Assert.All(DriverAssumptions.OfDriver, assumption => Assert.True(HoldsNowhere(assumption), assumption.What));
        Assert.True(DriverContractCheck.OfProcess.Holds);
    }

    [Fact]
    public async Task LookAt_ARealSession_EverythingHolds()
    {
        await using var pool = await PoolOnServer.CreateAsync();
        await using var lease = await pool.Pool.RentAsync(Cancellation);

        Assert.All(DriverAssumptions.OfSession, assumption => Assert.True(assumption.Holds(lease.Connection), assumption.What));
        Assert.DoesNotContain(pool.Logs.Entries, entry => entry.EventId.Id == DriverIsUnknown);
    }

    [Fact]
    public async Task Begin_OneAssumptionIsBroken_WarnsOfItWithTheVersionBeforeAnybodyHasRented()
    {
        var check = new DriverContractCheck([Sound(), Broken("an open gives up at once", "rents connect"), Sound()], []);

        check.Begin("orders", Logger);
        await check.Finished.WaitAsync(TimeSpan.FromSeconds(10), Cancellation);

        var warning = Assert.Single(_logs.Entries);
        Assert.Equal((DriverIsUnknown, LogLevel.Warning), (warning.EventId.Id, warning.Level));
        Assert.Contains($"Npgsql {DriverAssumptions.Version!.ToString(3)} does not do", warning.Message, StringComparison.Ordinal);
        Assert.Contains("an open gives up at once (otherwise rents connect)", warning.Message, StringComparison.Ordinal);
        Assert.Contains("docs/ecosystem.md", warning.Message, StringComparison.Ordinal);
        Assert.False(check.Holds);
    }

    [Fact]
    public async Task Begin_AMemberIsGone_WarnsWithTheException()
    {
        var gone = new DriverAssumption<NpgsqlDataSource>("the members exist", "rents fail", _ => throw new MissingMethodException("get_Multiplexing"));
        var check = new DriverContractCheck([gone], []);

        check.Begin("orders", Logger);
        await check.Finished.WaitAsync(TimeSpan.FromSeconds(10), Cancellation);

        Assert.IsType<MissingMethodException>(Assert.Single(_logs.Entries).Exception);
    }

    [Fact]
    public async Task Begin_ByManyPools_WarnsOnceWithAllThatIsBroken()
    {
        var check = new DriverContractCheck([Broken("one thing", "this"), Broken("another", "that")], []);

        for (var pool = 0; pool < 10; pool++)
        {
            check.Begin($"pool {pool}", Logger);
        }

        await check.Finished.WaitAsync(TimeSpan.FromSeconds(10), Cancellation);
        Assert.Contains("one thing (otherwise this); another (otherwise that)", Assert.Single(_logs.Entries).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LookAt_ASessionThatIsOtherwise_WarnsOnce()
    {
        await using var database = await TestDatabase.AcquireAsync(Cancellation);
        await using var raw = NpgsqlDataSource.Create(database.ConnectionString);
        await using var open = await raw.OpenConnectionAsync(Cancellation);
        var check = new DriverContractCheck([], [new("a session is a session", "nothing works", session => session != open)]);

        check.LookAt(open, "orders", Logger);
        check.LookAt(open, "orders", Logger);

        Assert.Contains("a session is a session", Assert.Single(_logs.Entries).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Begin_EverythingHolds_SaysNothing()
    {
        var check = new DriverContractCheck([Sound()], []);

        check.Begin("orders", Logger);
        await check.Finished.WaitAsync(TimeSpan.FromSeconds(10), Cancellation);

        Assert.Empty(_logs.Entries);
        Assert.True(check.Holds);
    }

    private static DriverAssumption<NpgsqlDataSource> Sound() => new("water is wet", "it is dry", _ => true);

    private static DriverAssumption<NpgsqlDataSource> Broken(string what, string otherwise) => new(what, otherwise, _ => false);

    private static bool HoldsNowhere(DriverAssumption<NpgsqlDataSource> assumption)
    {
        using var nowhere = NpgsqlDataSource.Create("Host=127.0.0.1;Port=1;Username=nobody");
        return assumption.Holds(nowhere);
    }
}
