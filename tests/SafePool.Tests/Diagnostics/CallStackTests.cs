using System.Runtime.CompilerServices;
using SafePool.Diagnostics;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Diagnostics;

public sealed class CallStackTests : IAsyncDisposable
{
    private const string Here = "   at SafePool.Tests.Diagnostics.CallStackTests.";

    private readonly ScriptedPool _scripted = ScriptedPool.Create(options => (options.MaxSize, options.Leaks.Tracking) = (4, LeaseTracking.StackTrace));

    [Fact]
    public void Format_OfAMethod_NamesItAndItsCallerAndNothingForeign()
    {
        var lines = Lines(Rent());

        Assert.Equal(Here + "Rent", lines[0]);
        Assert.Equal(Here + nameof(Format_OfAMethod_NamesItAndItsCallerAndNothingForeign), lines[1]);
        Assert.All(lines, line => Assert.DoesNotContain(" System.", line, StringComparison.Ordinal));
        Assert.All(lines, line => Assert.DoesNotContain("SafePool.ConnectionPool", line, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Format_OfAnAsyncMethod_NamesItAsTheSourceDoes()
    {
        var lines = Lines(await RentAsync());

        Assert.Equal(Here + nameof(RentAsync), lines[0]);
        Assert.Equal(Here + nameof(Format_OfAnAsyncMethod_NamesItAsTheSourceDoes), lines[1]);
    }

    [Fact]
    public void Format_OfALambda_NamesTheMethodAroundIt()
    {
        var captured = 0;
        Func<Lease> plain = () => Pool(this).Rent();
        Func<Lease> closure = () => Pool(this, captured++).Rent();

        Assert.Equal(Here + nameof(Format_OfALambda_NamesTheMethodAroundIt) + ".(lambda)", Lines(plain())[0]);
        Assert.Equal(Here + nameof(Format_OfALambda_NamesTheMethodAroundIt) + ".(lambda)", Lines(closure())[0]);
    }

    [Fact]
    public void Format_OfAStaticLambda_NamesTheMethodAroundIt()
    {
        Func<ScriptedPool, Lease> rent = static scripted => scripted.Pool.Rent();

        Assert.Equal(Here + nameof(Format_OfAStaticLambda_NamesTheMethodAroundIt) + ".(lambda)", Lines(rent(_scripted))[0]);
    }

    [Fact]
    public async Task Format_OfAnAsyncLambda_NamesTheMethodAroundIt()
    {
        var captured = 0;
        Func<ScriptedPool, Task<Lease>> plain = static async scripted => await scripted.Pool.RentAsync();
        Func<Task<Lease>> closure = async () => await Pool(this, captured++).RentAsync();

        Assert.Equal(Here + nameof(Format_OfAnAsyncLambda_NamesTheMethodAroundIt) + ".(lambda)", Lines(await plain(_scripted))[0]);
        Assert.Equal(Here + nameof(Format_OfAnAsyncLambda_NamesTheMethodAroundIt) + ".(lambda)", Lines(await closure())[0]);
    }

    [Fact]
    public async Task Format_OfALocalFunction_NamesBoth()
    {
        var captured = 0;

        Assert.Equal(Here + nameof(Format_OfALocalFunction_NamesBoth) + ".Plain", Lines(Plain(_scripted))[0]);
        Assert.Equal(Here + nameof(Format_OfALocalFunction_NamesBoth) + ".Closure", Lines(Closure())[0]);
        Assert.Equal(Here + nameof(Format_OfALocalFunction_NamesBoth) + ".InAsync", Lines(await InAsync())[0]);

        static Lease Plain(ScriptedPool scripted) => scripted.Pool.Rent();
        Lease Closure() => Pool(this, captured++).Rent();
        async Task<Lease> InAsync() => await Pool(this, captured++).RentAsync();
    }

    [Fact]
    public async Task Format_OfAnIterator_NamesItAsTheSourceDoes()
    {
        Assert.Equal(Here + nameof(Each), Lines(Each().First())[0]);
        await foreach (var lease in EachAsync())
        {
            Assert.Equal(Here + nameof(EachAsync), Lines(lease)[0]);
        }
    }

    [Fact]
    public async Task Format_OfAGenericTypeAndMethod_ShowsNoMarksOfTheRuntime()
    {
        var repository = new Repository<string>(_scripted.Pool);

        Assert.Equal(Here + "Repository.Rent", Lines(repository.Rent<int>())[0]);
        Assert.Equal(Here + "Repository.RentAsync", Lines(await repository.RentAsync<int>())[0]);
        Assert.Equal(Here + "Repository.RentInLambda.(lambda)", Lines(repository.RentInLambda(1))[0]);
        Assert.Equal(Here + "Repository.RentInAsyncLambda.(lambda)", Lines(await repository.RentInAsyncLambda(1))[0]);
        Assert.Equal(Here + "Repository..ctor", Lines(new Repository<int>(_scripted.Pool, rents: true).Rented)[0]);
    }

    [Fact]
    public async Task Capture_OfARentThatWaited_IsTheCallersOwnStack()
    {
        await using var scripted = ScriptedPool.Create(options => (options.MaxSize, options.Leaks.Tracking) = (1, LeaseTracking.StackTrace));
        var first = await scripted.Pool.RentAsync(TestContext.Current.CancellationToken);
        var waiting = WaitAsync(scripted.Pool);

        first.Dispose();
        using var lease = await waiting;

        var lines = Assert.Single(scripted.Snapshot.Holders).StackTrace!.Split(Environment.NewLine);
        Assert.Equal([Here + nameof(WaitAsync), Here + nameof(Capture_OfARentThatWaited_IsTheCallersOwnStack)], lines[..2]);
    }

    [Fact]
    public async Task Capture_ThroughEveryWayToRent_BeginsWithTheCaller()
    {
        await using var scripted = ScriptedPool.Create(options => options.Leaks.Tracking = LeaseTracking.StackTrace);
        var pool = scripted.Pool;

        // The first rents open a connection and the second ones are served at once.
        for (var round = 0; round < 2; round++)
        {
            using var tried = pool.TryRent(out var lease) ? lease : default;
            using var plain = await pool.RentAsync(TestContext.Current.CancellationToken);
            using var withOptions = await pool.RentAsync(new RentOptions(), TestContext.Current.CancellationToken);
            using var blocking = pool.Rent();
            using var blockingWithOptions = pool.Rent(new RentOptions());
            await pool.OpenConnectionAsync(TestContext.Current.CancellationToken);
            pool.OpenConnection();

            // On a scripted source drop-in connections never close, so those of the first round are still out in the second.
            Assert.Equal(round == 0 ? 6 : 9, scripted.Snapshot.Holders.Length);
            Assert.All(
                scripted.Snapshot.Holders,
                holder => Assert.StartsWith(Here + nameof(Capture_ThroughEveryWayToRent_BeginsWithTheCaller), holder.StackTrace, StringComparison.Ordinal));
        }
    }

    public ValueTask DisposeAsync() => _scripted.DisposeAsync();

    private static ConnectionPool Pool(CallStackTests test, int ignored = 0) => ignored >= 0 ? test._scripted.Pool : throw new InvalidOperationException();

    [MethodImpl(MethodImplOptions.NoInlining)]
    private Lease Rent() => _scripted.Pool.Rent();

    private async Task<Lease> RentAsync() => await _scripted.Pool.RentAsync();

    private static async Task<Lease> WaitAsync(ConnectionPool pool) => await pool.RentAsync();

    private IEnumerable<Lease> Each()
    {
        yield return _scripted.Pool.Rent();
    }

    private async IAsyncEnumerable<Lease> EachAsync()
    {
        yield return await _scripted.Pool.RentAsync();
    }

    /// <summary>The stack of a lease, which is returned.</summary>
    private string[] Lines(Lease lease)
    {
        using var disposal = lease;
        return _scripted.Snapshot.Holders.Single(holder => holder.LeaseId == lease.Id).StackTrace!.Split(Environment.NewLine);
    }

    private sealed class Repository<T>
    {
        private readonly ConnectionPool _pool;

        public Repository(ConnectionPool pool, bool rents = false)
        {
            _pool = pool;
            Rented = rents ? pool.Rent() : default;
        }

        public Lease Rented { get; }

        [MethodImpl(MethodImplOptions.NoInlining)]
        public Lease Rent<TKey>() => typeof(TKey) == typeof(T) ? default : _pool.Rent();

        public async Task<Lease> RentAsync<TKey>() => typeof(TKey) == typeof(T) ? default : await _pool.RentAsync();

        public Lease RentInLambda<TKey>(TKey key)
        {
            Func<Lease> rent = () => key is null ? default : _pool.Rent();
            return rent();
        }

        public Task<Lease> RentInAsyncLambda<TKey>(TKey key)
        {
            Func<Task<Lease>> rent = async () => key is null ? default : await _pool.RentAsync();
            return rent();
        }
    }
}
