namespace SafePool.LoadTests.Capacity;

/// <summary>A request: when it was due, when it began, when it had its answer.</summary>
internal record struct Arrival(long Due, long Begun, long Ended, Answer Answer);

/// <summary>Requests that arrive on schedule, as many as there shall be, whether or not earlier ones are done.</summary>
internal static class OpenLoop
{
    private static readonly TimeSpan _tick = TimeSpan.FromMilliseconds(1);

    /// <returns>All of them, in the order of their arrival; those that were not answered in time have no answer.</returns>
    public static async Task<IReadOnlyList<Arrival>> RunAsync(Service service, int perSecond, TimeSpan duration)
    {
        var arrivals = new Arrival[(int)(perSecond * duration.TotalSeconds)];
        using var answered = new CountdownEvent(arrivals.Length);
        await Task.Factory.StartNew(Send, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        return arrivals;

        // On a thread of its own, so that what a service does to the thread pool delays its requests, not their arrival.
        void Send()
        {
            var begun = Clock.Now;
            using var never = new ManualResetEventSlim();
            for (var sent = 0; sent < arrivals.Length;)
            {
                for (var due = Due(begun, sent); sent < arrivals.Length && due <= Clock.Now; due = Due(begun, sent))
                {
                    arrivals[sent].Due = due;
                    ThreadPool.UnsafeQueueUserWorkItem(static request => _ = request.Loop(request.Number), (Loop: (Func<int, Task>)AnswerAsync, Number: sent), preferLocal: false);
                    sent++;
                }

                never.Wait(_tick);
            }

            answered.Wait(Workload.Patience);
        }

        async Task AnswerAsync(int number)
        {
            arrivals[number].Begun = Clock.Now;
            var answer = await service.AnswerAsync();
            (arrivals[number].Ended, arrivals[number].Answer) = (Clock.Now, answer);
            answered.Signal();
        }

        long Due(long begun, int number) => Clock.After(begun, TimeSpan.FromSeconds((double)number / perSecond));
    }
}
