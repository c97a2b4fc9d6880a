# loss.gp - the loss of each run, step by step.  rates and folder come from the Makefile.
set terminal svg size 720,400 dynamic background "white"
set xlabel "step"
set ylabel "loss"
set grid
set key top right
plot for [rate in rates] folder."/loss-".rate.".dat" using 1:2 with lines linewidth 2 title "learning rate ".rate
