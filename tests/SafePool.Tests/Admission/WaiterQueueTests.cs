using SafePool.Admission;
using Xunit;

namespace SafePool.Tests.Admission;

public sealed class WaiterQueueTests(ITestOutputHelper output)
{
    private readonly AdmissionGate _gate = new(1, 1, 1);
    private readonly WaiterQueue _queue = new();

    [Fact]
    public void Append_Several_KeepsTheOrderOfArrival()
    {
        var waiters = Append(3);

        Assert.Equal(waiters, InOrder());
        Assert.Same(waiters[0], _queue.First);
        Assert.Same(waiters[2], _queue.Last);
        Assert.All(waiters, waiter => Assert.True(waiter.IsQueued));
    }

    [Fact]
    public void Prepend_OthersWait_StandsBeforeThem()
    {
        var waiters = Append(2);
        var returning = NewWaiter();

        _queue.Prepend(returning);

        Assert.Equal([returning, .. waiters], InOrder());
    }

    [Fact]
    public void Prepend_Empty_IsFirstAndLast()
    {
        var returning = NewWaiter();

        _queue.Prepend(returning);

        Assert.Same(returning, _queue.First);
        Assert.Same(returning, _queue.Last);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Remove_FromAnywhere_KeepsTheOthersInOrder(int index)
    {
        var waiters = Append(3);

        _queue.Remove(waiters[index]);

        Assert.Equal(waiters.Where((_, i) => i != index), InOrder());
        Assert.False(waiters[index].IsQueued);
    }

    [Fact]
    public void Remove_TheOnlyOne_LeavesAnEmptyQueueThatWorksOn()
    {
        _queue.Remove(Append(1)[0]);

        Assert.Null(_queue.First);
        Assert.Null(_queue.Last);
        Assert.Single(Append(1));
        Assert.Equal(1, _queue.Count);
    }

    [Fact]
    public void BlockingCount_MixedWaiters_CountsThoseThatBlockAThread()
    {
        var blocking = NewWaiter(blocking: true);
        Append(2);
        _queue.Append(blocking);
        Assert.Equal(1, _queue.BlockingCount);

        _queue.Remove(blocking);

        Assert.Equal(0, _queue.BlockingCount);
    }

    [Fact]
    public void AnyOperations_InRandomOrder_AgreeWithAPlainList()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var expected = new List<Waiter>();

        for (var i = 0; i < 2_000; i++)
        {
            var waiter = NewWaiter(random.Next(2) == 0);
            switch (random.Next(4))
            {
                case 0:
                    _queue.Prepend(waiter);
                    expected.Insert(0, waiter);
                    break;
                case 1:
                    _queue.Append(waiter);
                    expected.Add(waiter);
                    break;
                case var _ when expected.Count > 0:
                    var index = random.Next(expected.Count);
                    _queue.Remove(expected[index]);
                    expected.RemoveAt(index);
                    break;
            }

            Assert.Equal(expected, InOrder());
            Assert.Equal(expected.Count, _queue.Count);
            Assert.Equal(expected.Count(one => one.IsBlocking), _queue.BlockingCount);
            Assert.Same(expected.LastOrDefault(), _queue.Last);
        }
    }

    private List<Waiter> Append(int count)
    {
        List<Waiter> waiters = [.. Enumerable.Range(0, count).Select(_ => NewWaiter())];
        waiters.ForEach(_queue.Append);
        return waiters;
    }

    private TestWaiter NewWaiter(bool blocking = false)
    {
        var waiter = new TestWaiter();
        waiter.Prepare(_gate, blocking, long.MaxValue, who: null);
        return waiter;
    }

    private List<Waiter> InOrder()
    {
        List<Waiter> waiters = [];
        for (var waiter = _queue.First; waiter is not null; waiter = waiter.Next)
        {
            waiters.Add(waiter);
        }

        return waiters;
    }
}
