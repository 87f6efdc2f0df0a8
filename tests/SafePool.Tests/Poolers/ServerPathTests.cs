using SafePool.Driver.Poolers;
using Xunit;

namespace SafePool.Tests.Poolers;

public sealed class ServerPathTests
{
    [Theory]
    [InlineData(TimeoutStrategy.Auto, nameof(PathKind.Direct), false, nameof(TimeoutWay.Unsaid))]
    [InlineData(TimeoutStrategy.Auto, nameof(PathKind.Direct), true, nameof(TimeoutWay.PerLease))]
    [InlineData(TimeoutStrategy.Auto, nameof(PathKind.SessionPooler), true, nameof(TimeoutWay.PerLease))]
    [InlineData(TimeoutStrategy.Auto, nameof(PathKind.TransactionPooler), true, nameof(TimeoutWay.PerTransaction))]
    [InlineData(TimeoutStrategy.Auto, nameof(PathKind.TransactionPooler), false, nameof(TimeoutWay.Unsaid))]
    [InlineData(TimeoutStrategy.Auto, nameof(PathKind.UncertainPooler), true, nameof(TimeoutWay.PerTransaction))]
    [InlineData(TimeoutStrategy.Startup, nameof(PathKind.SessionPooler), true, nameof(TimeoutWay.Unsaid))]
    [InlineData(TimeoutStrategy.None, nameof(PathKind.TransactionPooler), true, nameof(TimeoutWay.Unsaid))]
    [InlineData(TimeoutStrategy.PerLease, nameof(PathKind.Direct), false, nameof(TimeoutWay.PerLease))]
    [InlineData(TimeoutStrategy.PerLease, nameof(PathKind.UncertainPooler), false, nameof(TimeoutWay.PerTransaction))]
    public void WayOf_PathAndStrategy_NeverSetsWhereItCouldReachAStranger(TimeoutStrategy strategy, string kind, bool isMissing, string way)
        => Assert.Equal(way, ServerPath.WayOf(Enum.Parse<PathKind>(kind), strategy, isMissing).ToString());

    [Fact]
    public void TrySettle_Twice_KeepsWhatWasFoundFirst()
    {
        var path = new ServerPath();

        Assert.True(path.TrySettle(PathKind.SessionPooler, TimeoutWay.PerLease));
        Assert.False(path.TrySettle(PathKind.Direct, TimeoutWay.Unsaid));

        Assert.Equal((PathKind.SessionPooler, TimeoutWay.PerLease, true), (path.Kind, path.Way, path.SetsPerLease));
    }

    [Fact]
    public void TryDemote_APoolerThatWasTakenForOneBySession_SetsNothingOutsideOfTransactionsAnyMore()
    {
        var path = new ServerPath();
        path.TrySettle(PathKind.SessionPooler, TimeoutWay.PerLease);

        Assert.True(path.TryDemote());
        Assert.False(path.TryDemote());

        Assert.Equal((PathKind.TransactionPooler, TimeoutWay.PerTransaction), (path.Kind, path.Way));
        Assert.Equal((false, true, true), (path.SetsPerLease, path.SharesSessions, path.ForbidsReset));
    }

    [Fact]
    public void TryDoubtSessions_NothingCanBeProven_SetsNothingOutsideOfTransactionsUntilItIsFoundOutAnew()
    {
        var path = new ServerPath();
        path.TrySettle(PathKind.SessionPooler, TimeoutWay.PerLease);

        Assert.True(path.TryDoubtSessions());
        Assert.False(path.TryDoubtSessions());

        Assert.Equal((PathKind.UncertainPooler, TimeoutWay.PerTransaction), (path.Kind, path.Way));
        Assert.Equal((false, true, false), (path.SetsPerLease, path.SharesSessions, path.ForbidsReset));
        path.Forget();
        Assert.True(path.TrySettle(PathKind.SessionPooler, TimeoutWay.PerLease));
    }
}
