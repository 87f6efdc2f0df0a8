using SafePool.Admission;
using Xunit;

namespace SafePool.Tests.Admission;

public sealed class IdleStackTests(ITestOutputHelper output)
{
    [Fact]
    public void TryPop_Empty_GivesNothing()
    {
        var stack = new IdleStack(3);

        Assert.False(stack.TryPop(out var place));
        Assert.Equal(-1, place);
        Assert.Equal(0, stack.Count);
    }

    [Fact]
    public void TryPop_SeveralPushed_GivesTheLastFirst()
    {
        var stack = Filled(3);

        Assert.Equal([2, 1, 0], PopAll(stack));
        Assert.Equal(0, stack.Count);
    }

    [Fact]
    public void TryPop_TheLargestPool_GivesEveryPlaceOnce()
    {
        var stack = Filled(10_000);

        Assert.Equal(10_000, stack.Count);
        Assert.Equal(Enumerable.Range(0, 10_000).Reverse(), PopAll(stack));
    }

    [Fact]
    public void TryShut_SomethingLiesOnIt_Refuses()
    {
        var stack = Filled(1);

        Assert.False(stack.TryShut());
        Assert.False(stack.IsShut);
        Assert.True(stack.TryPop(out _));
    }

    [Fact]
    public void TryPush_Shut_RefusesUntilItIsOpened()
    {
        var stack = new IdleStack(1);
        Assert.True(stack.TryShut());

        Assert.False(stack.TryPush(0));
        Assert.True(stack.IsShut);
        stack.Open();

        Assert.True(stack.TryPush(0));
        Assert.Equal(1, stack.Count);
    }

    [Fact]
    public void PushAndPop_FromManyThreadsWhileOneShutsAndOpens_LosesAndDuplicatesNothing()
    {
        const int Places = 7;
        const int Threads = 4;
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var stack = Filled(Places);
        var owners = new int[Places];
        var duplicates = 0;
        var done = false;

        var workers = Enumerable.Range(1, Threads).Select(id => Start(() => Work(id, new Random(seed + id)))).ToList();
        var doorkeeper = Start(ShutAndOpen);
        workers.ForEach(worker => worker.Join());
        Volatile.Write(ref done, true);
        doorkeeper.Join();

        Assert.Equal(0, duplicates);
        Assert.Equal(Enumerable.Range(0, Places), PopAll(stack).Order());

        void Work(int id, Random random)
        {
            var held = new Stack<int>();
            for (var i = 0; i < 20_000; i++)
            {
                if (random.Next(2) == 0 && stack.TryPop(out var popped))
                {
                    Own(popped, 0, id);
                    held.Push(popped);
                }
                else
                {
                    TryGiveBack(held, id);
                }
            }

            while (held.Count > 0)
            {
                TryGiveBack(held, id);
            }
        }

        void TryGiveBack(Stack<int> held, int id)
        {
            if (held.TryPop(out var place))
            {
                Own(place, id, 0);
                if (!stack.TryPush(place))
                {
                    Own(place, 0, id);
                    held.Push(place);
                }
            }
        }

        void Own(int place, int from, int to)
        {
            if (Interlocked.CompareExchange(ref owners[place], to, from) != from)
            {
                Interlocked.Increment(ref duplicates);
            }
        }

        void ShutAndOpen()
        {
            while (!Volatile.Read(ref done))
            {
                if (stack.TryShut())
                {
                    stack.Open();
                }
            }
        }
    }

    private static Thread Start(ThreadStart work)
    {
        var thread = new Thread(work) { IsBackground = true };
        thread.Start();
        return thread;
    }

    private static IdleStack Filled(int places)
    {
        var stack = new IdleStack(places);
        for (var place = 0; place < places; place++)
        {
            Assert.True(stack.TryPush(place));
        }

        return stack;
    }

    private static List<int> PopAll(IdleStack stack)
    {
        List<int> popped = [];
        while (stack.TryPop(out var place))
        {
            popped.Add(place);
        }

        return popped;
    }
}
