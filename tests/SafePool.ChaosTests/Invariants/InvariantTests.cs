using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.ChaosTests.Invariants;

/// <summary>The watchers themselves: one that never barks would look like a pool without a fault.</summary>
public sealed class InvariantTests : IAsyncLifetime
{
    private readonly Canary _canary = new();
    private Journal _journal = null!;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        _journal = new Journal(_canary);
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync() => _canary.DisposeAsync();

    [Fact]
    public void Judge_MuchLaterThanTheMachine_IsAViolation()
    {
        var anHourAgo = TimeProvider.System.GetTimestamp() - (3600 * TimeProvider.System.TimestampFrequency);

        _journal.Took("a rent", anHourAgo, TimeSpan.FromMilliseconds(1));
        _journal.Judge();

        Assert.Contains("a rent took", Assert.Single(_journal.Violations), StringComparison.Ordinal);
    }

    [Fact]
    public void Judge_InTime_IsNone()
    {
        _journal.Took("a rent", TimeProvider.System.GetTimestamp(), TimeSpan.FromSeconds(10));
        _journal.Judge();

        Assert.False(_journal.HasViolations);
    }

    [Fact]
    public async Task NoiseBetween_ThreadPoolStarved_SeesIt()
    {
        ThreadPool.GetMaxThreads(out var most, out _);
        using var end = new ManualResetEventSlim();
        var from = TimeProvider.System.GetTimestamp();
        // More than the pool adds in that time, so that the canary has to wait for its turn.
        var blocking = Enumerable.Range(0, Math.Min(most, 64)).Select(_ => Task.Run(() => end.Wait(TimeSpan.FromMilliseconds(500)), Cancellation)).ToArray();

        await Task.WhenAll(blocking);

        await Eventually.True(
            () => _canary.NoiseBetween(from, TimeProvider.System.GetTimestamp()) > TimeSpan.FromMilliseconds(100), "the canary has seen the starvation");
    }

    [Fact]
    public async Task Enter_AConnectionInOtherHands_IsAViolation()
    {
        await using var database = await TestDatabase.AcquireAsync(Cancellation);
        await using var connection = new NpgsqlConnection($"{database.ConnectionString};Pooling=false");
        await connection.OpenAsync(Cancellation);
        var occupancy = new Occupancy(_journal, maxSize: 2);

        var physical = occupancy.Enter(connection, "one");
        Assert.False(_journal.HasViolations);
        Assert.Null(occupancy.Enter(connection, "another"));

        Assert.Equal("another got a connection that one still holds", Assert.Single(_journal.Violations));
        occupancy.Leave(physical);
        Assert.NotNull(occupancy.Enter(connection, "another"));
    }

    [Theory]
    [InlineData(typeof(InvalidOperationException))]
    [InlineData(typeof(IndexOutOfRangeException))]
    [InlineData(typeof(NullReferenceException))]
    [InlineData(typeof(OperationCanceledException))]
    public void FaultOf_AnErrorThatNobodyPromised_IsOne(Type type)
        => Assert.NotNull(RentFailures.FaultOf((Exception)Activator.CreateInstance(type)!, isClosed: false, tellsErrorsOfOpens: true, CancellationToken.None));

    [Fact]
    public void FaultOf_ACancellationOfTheCallersOwn_IsNone()
    {
        var own = new CancellationToken(canceled: true);

        Assert.Null(RentFailures.FaultOf(new OperationCanceledException(own), isClosed: false, tellsErrorsOfOpens: false, own));
        Assert.NotNull(RentFailures.FaultOf(new OperationCanceledException(), isClosed: false, tellsErrorsOfOpens: false, own));
    }

    [Fact]
    public void FaultOf_AnErrorOfAnOpen_IsOneWithTheBreakerOn()
    {
        var refused = new NpgsqlException("refused", new IOException());

        Assert.Null(RentFailures.FaultOf(refused, isClosed: false, tellsErrorsOfOpens: true, CancellationToken.None));
        Assert.NotNull(RentFailures.FaultOf(refused, isClosed: false, tellsErrorsOfOpens: false, CancellationToken.None));
    }
}
